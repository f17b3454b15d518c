internal import Logging
internal import Synchronization

/// Compaction: segments with much garbage are emptied and used again.
extension DeviceLog {
    /// Records copied between two waits for the commit stream, and their bytes, if they are not one: the writes of clients are in the same batches,
    /// and wait for all that is in them.
    private static let stride = 64
    private static let strideBytes = 128 << 10
    /// With less than one part in so many of the disk free, space matters more than anything else.
    private static let shortShare: Int64 = 10

    /// Empties the segment with the most garbage, if any has enough; false when nothing was or could be given back. Blocks for
    /// as long as the copying takes; one caller at a time. The space is free after the next flush of the index, which
    /// it starts.
    @discardableResult
    package func compact() throws(DeviceLogError) -> Bool {
        guard let segment = try compactionCandidate() else { return false }
        configuration.compactionSteering?.begin(liveBytes(of: segment))
        do {
            try relocateRecords(of: segment)
        } catch let error as DeviceLogError {
            throw error
        } catch {
            throw (error as? FileError).map { DeviceLogError($0) } ?? .closed
        }
        configuration.compactionSteering?.end()
        let left = liveBytes(of: segment)
        guard left <= 0 else {
            // Its records are damaged; reads find that out, and repairs supersede them.
            state.withLock { _ = $0.stuckSegments.insert(segment) }
            logger.error("A segment cannot be emptied", metadata: ["segment": "\(segment)", "bytes": "\(left)"])
            return false
        }
        try flushCovering()
        try recycleEmptySegments()
        // Writes that were not confirmed hold it back: later then.
        return try segmentSizes()[segment] == nil
    }

    /// Gives up the segments that nothing refers to, in memory or in the index. After a flush.
    func recycleEmptySegments() throws(DeviceLogError) {
        guard let covered = try catalog.index.state() else { return }
        do {
            for segment in try segmentSizes().keys.sorted() {
                let isWritten = segment >= min(covered.covered.segment, stream.writer.segment)
                guard !isWritten, segment < min(covered.unconfirmed.segment, oldestUnconfirmedSegment) else { break }
                guard covered.liveBytes[segment] ?? 0 <= 0, liveBytes(of: segment) <= 0 else { continue }
                try files.recycle(segment)
                catalog.memory.withLock { $0.liveBytes[segment] = nil }
            }
        } catch let error as FileError {
            throw DeviceLogError(error)
        } catch {
            throw error as? DeviceLogError ?? .closed
        }
    }

    private var oldestUnconfirmedSegment: UInt32 { oldestUnconfirmed?.segment ?? .max }

    private var oldestUnconfirmed: LogPosition? {
        let floor = state.withLock { $0.restartFloor }
        return [floor, unconfirmed.oldest].compactMap { $0 }.min()
    }

    private func compactionCandidate() throws(DeviceLogError) -> UInt32? {
        let current = stream.writer.segment
        let given = state.withLock { $0.stuckSegments }
        let floor = oldestUnconfirmedSegment
        let rewriteBefore = state.withLock { $0.rewriteBefore }
        var oldest: UInt32?
        var best: (segment: UInt32, share: Double)?
        for (segment, size) in try segmentSizes()
        where segment < current && segment < floor && !given.contains(segment) && size > 0 {
            let share = 1 - Double(liveBytes(of: segment)) / Double(size)
            if share > configuration.compactionGarbage, share > best?.share ?? 0 { best = (segment, share) }
            if segment < rewriteBefore, segment < oldest ?? .max { oldest = segment }
        }
        return best?.segment ?? oldest
    }

    private func relocateRecords(of segment: UInt32) throws {
        let file = try files.openAnew(segment)
        file.readNothingAhead()
        let scanner = try SegmentScanner(
            segment: segment, file: file, from: UInt32(SegmentHeader.reserved),
            end: SegmentSeal.read(segment, from: file)?.end, minimumBatch: 0)
        let isShort = isShortOfSpace
        var group: [RecordHeader] = []
        var bytes = 0
        while liveBytes(of: segment) > 0 {
            let event = try scanner.next()
            if case .record(let header) = event {
                group.append(header)
                bytes += Int(header.length)
            }
            let isEnd = event == .end
            if group.count == Self.stride || bytes >= Self.strideBytes || isEnd {
                try relocate(group, isShort)
                group.removeAll(keepingCapacity: true)
                bytes = 0
            }
            if isEnd { return }
        }
    }

    private var isShortOfSpace: Bool {
        guard let (free, total) = try? directory.fileSystem.space(at: directory.path) else { return true }
        return free < total / Self.shortShare
    }

    private func relocate(_ headers: [RecordHeader], _ isShort: Bool) throws(DeviceLogError) {
        let bytes = headers.reduce(0) { $0 + Int64($1.length) }
        guard configuration.compactionSteering?.advance(bytes, isShort) ?? true else { throw .closed }
        var counting: [RecordHeader] = []
        for header in headers where try mayCount(header) { counting.append(header) }
        try relocateCounting(counting)
    }

    /// Whether a record may still count: those of objects that do not are told apart here, so that the commit stream, which clients wait for, has
    /// less to look up. What does not count never will again.
    private func mayCount(_ header: RecordHeader) throws(DeviceLogError) -> Bool {
        switch header.kind {
        case .pendingDone: false
        case .put, .metadata, .tombstone, .quarantine, .eviction:
            try catalog.object(header.objectKey).map { $0.record == header.location || $0.data == header.location }
                ?? false
        case .row, .tableInfo, .pending: true
        }
    }

    private func relocateCounting(_ headers: [RecordHeader]) throws(DeviceLogError) {
        for (header, outcome) in zip(headers, perform(headers.map { .relocate($0) })) {
            var outcome = outcome
            // What it belongs to was written in the same batch: now that can be read.
            if case .failed(.busy) = outcome { outcome = perform(.relocate(header)) }
            switch outcome {
            case .failed(.corrupt):
                guard header.kind == .put || header.kind == .metadata else { continue }
                _ = perform(.quarantine(header.objectKey, header.location))
            case .failed(.busy): continue
            case .failed(let error): throw error
            case .stored, .superseded, .missing, .baseMismatch, .conditionFailed, .refused: continue
            }
        }
    }

    /// Waits until the index covers everything that is committed now, and knows of all that is confirmed now.
    private func flushCovering() throws(DeviceLogError) {
        let head = stream.writer.head
        let floor = min(oldestUnconfirmed ?? head, head)
        while true {
            if let state = try catalog.index.state(), state.covered >= head, state.unconfirmed >= floor { return }
            try flushIndex()
            if case .threads = configuration.driver {
                Pause.milliseconds(5)
                try finishFlush()
                if let failure = state.withLock({ $0.indexFailure }) { throw failure }
                if state.withLock({ $0.isClosed }) { throw .closed }
            }
        }
    }

    func liveBytes(of segment: UInt32) -> Int64 {
        catalog.memory.withLock { $0.liveBytes[segment] ?? 0 }
    }

    /// Lengths of the segment files by segment.
    func segmentSizes() throws(DeviceLogError) -> [UInt32: Int64] {
        do {
            var sizes: [UInt32: Int64] = [:]
            for segment in try files.segments() { sizes[segment] = try files.file(segment).length() }
            return sizes
        } catch {
            throw DeviceLogError(error)
        }
    }
}
