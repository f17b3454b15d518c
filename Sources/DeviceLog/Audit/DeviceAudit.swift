internal import Glibc
internal import NIOCore
internal import Synchronization

/// What an audit found on a disk.
package enum DeviceDamage: Equatable, Sendable {
    /// The copy of an object; it is in quarantine now, and only another replica has it.
    case object(ObjectKey)
    /// A record of the log whose content the index holds: it was written again.
    case restored(LogPosition)
    /// A run of the index; the next start rebuilds the index from the log.
    case index(run: UInt64)
}

/// Reads everything that a device holds from its disk, in large pieces and past the page cache, and verifies it: the records of the
/// log, the bodies beside it, the blocks of the index.
///
/// What is found is treated as if a read had met it, at most once: nothing is reported that is not there any more when it is looked at
/// again. Writes, deletes and compaction go on meanwhile. For one thread.
package final class DeviceAudit {
    /// What bytes were read of.
    package enum Part: Sendable {
        /// The log and the index, whose size is known beforehand; see `size`.
        case log
        case bodies
    }

    /// Bytes of records between two calls of `advance`.
    private static let step = 1 << 20
    private static let maximumHarmless = 100_000
    /// Looked up together; of more than these the last ones count as one.
    private static let maximumStretches = 10_000

    let log: DeviceLog
    let reader: RecordReader
    private let report: (DeviceDamage) -> Void
    private var findings = 0
    /// Entries of the index that are held at once.
    var maximumReferences = 10_000
    private let advance: (Int, Part) -> Bool
    /// Where a pass that was broken off by an error goes on.
    private var next: UInt32 = 0
    /// Stretches without a record to which nothing refers: what a failed write left, or damaged garbage. They stay so.
    private var harmless: Set<Stretch> = []
    /// The head of the log when the pass began: all before it is durable.
    private var head: (segment: UInt32, offset: Int64) = (0, 0)

    /// Bytes of a segment.
    struct Stretch: Hashable {
        var segment: UInt32
        var from: UInt32
        var to: UInt32
    }

    /// - Parameters:
    ///   - advance: told of bytes that were read; false ends the pass. It may block, by which the audit is slowed down.
    ///   - found: told of each damage.
    package init(
        _ log: DeviceLog, advance: @escaping (Int, Part) -> Bool, found: @escaping (DeviceDamage) -> Void
    ) {
        self.log = log
        self.advance = advance
        report = found
        var reader = log.reader
        reader.isDirect = true
        self.reader = reader
    }

    func found(_ damage: DeviceDamage) {
        findings += 1
        report(damage)
    }

    /// Bytes of log and index, which a pass reads wholly; bodies come to it.
    package func size() throws(DeviceLogError) -> Int64 {
        let current = log.stream.writer.headForOthers
        var size = log.catalog.index.size
        for segment in try listSegments() {
            // One that was given up since it was listed counts nothing.
            guard let file = try? log.files.openAnew(segment) else { continue }
            if let seal = try? SegmentSeal.read(segment, from: file) {
                size += Int64(seal.end)
            } else {
                size += segment == current.segment ? current.offset : (try? file.length()) ?? 0
            }
        }
        return size
    }

    /// One pass; false when `advance` ended it.
    package func run() throws(DeviceLogError) -> Bool {
        guard try auditIndex() else { return false }
        settleHead()
        try searchMissingSegments()
        let segments = try listSegments().filter { $0 <= head.segment }.sorted()
        for segment in segments.filter({ $0 >= next }) + segments.filter({ $0 < next }) {
            next = segment
            guard try audit(segment) else { return false }
        }
        next = 0
        return true
    }

    private func auditIndex() throws(DeviceLogError) -> Bool {
        try log.catalog.index.audit { count in
            advance(count, .log)
        } damaged: { run in
            log.noteIndexDamage(run)
            found(.index(run: run))
        }
    }

    /// Waits for the batch that may be under way: what follows is behind the head.
    private func settleHead() {
        head = log.stream.writer.headForOthers
        _ = log.perform(.wake)
    }

    private func listSegments() throws(DeviceLogError) -> [UInt32] {
        do { return try log.files.segments() } catch { throw DeviceLogError(error) }
    }

    /// Files that are gone although something refers to them.
    private func searchMissingSegments() throws(DeviceLogError) {
        func inUse() -> Set<UInt32> {
            Set(log.catalog.memory.withLock { memory in memory.liveBytes.filter { $0.value > 0 }.keys })
        }
        let before = inUse()
        let present = Set(try listSegments())
        // What compaction gave up in between is not in use any more.
        for segment in before.subtracting(present).intersection(inUse()) {
            try search([Stretch(segment: segment, from: 0, to: .max)])
        }
    }

    private func audit(_ segment: UInt32) throws(DeviceLogError) -> Bool {
        do {
            let file: any File
            do { file = try log.files.openAnew(segment) } catch {
                // Given up since it was listed.
                guard error.errno == ENOENT else { throw error }
                return true
            }
            var end = try SegmentSeal.read(segment, from: file)?.end
            if end == nil, segment == head.segment { end = UInt32(clamping: head.offset) }
            let scanner = try SegmentScanner(
                segment: segment, file: file, from: UInt32(SegmentHeader.reserved), end: end, minimumBatch: 0,
                isDirect: true)
            var stretches: [Stretch] = []
            guard try scan(scanner, &stretches) else { return false }
            if end == nil {
                // Both copies of its end are damaged.
                stretches.append(Stretch(segment: segment, from: scanner.offset, to: .max))
            }
            try search(stretches)
            return true
        } catch let error as FileError {
            throw DeviceLogError(error)
        } catch {
            throw error as? DeviceLogError ?? .closed
        }
    }

    /// Adds what is no sound record.
    private func scan(_ scanner: SegmentScanner, _ stretches: inout [Stretch]) throws -> Bool {
        var bytes = 0
        while true {
            switch try scanner.next() {
            case .record(let header):
                bytes += Int(header.length)
                if let content = try scanner.content(of: header) {
                    if header.kind == .put, header.flags & RecordHeader.flagBlob != 0 {
                        guard try auditBlob(header, content) else { return false }
                    }
                } else {
                    Self.add(Stretch(segment: header.segment, from: header.offset, to: header.end), to: &stretches)
                }
            case .damage(let from, let to):
                bytes += Int(to - from)
                Self.add(Stretch(segment: scanner.segment, from: from, to: to), to: &stretches)
            case .end:
                return advance(bytes, .log)
            }
            if bytes >= Self.step {
                guard advance(bytes, .log) else { return false }
                bytes = 0
            }
        }
    }

    private static func add(_ stretch: Stretch, to stretches: inout [Stretch]) {
        if stretches.count < maximumStretches {
            stretches.append(stretch)
        } else {
            stretches[stretches.count - 1].to = stretch.to
        }
    }

    /// The body beside a record, if the record counts.
    private func auditBlob(_ header: RecordHeader, _ content: UnsafeRawBufferPointer) throws -> Bool {
        let key = header.objectKey
        guard let entry = try log.catalog.object(key), entry.kind == .live, entry.body == header.location else {
            return true
        }
        let bytes = content.part(Int(header.metadataLength), Int(header.bodyLength))
        if let description = BlobDescription(bytes, length: header.bodyTotal), description.id == entry.blob {
            do {
                let blob = BlobReader(
                    length: Int64(clamping: header.bodyTotal), file: try log.blobs.open(description.id),
                    description: description, reportDamage: {})
                return try blob.verify { advance($0, .bodies) }
            } catch let error as FileError {
                guard error.errno == ENOENT else { throw error }
            } catch let error as DeviceLogError {
                guard error == .corrupt else { throw error }
            }
        }
        // A newer version takes the file away.
        guard let now = try log.catalog.object(key), now.kind == .live, now.blob == entry.blob else { return true }
        log.reportDamage(key, now)
        found(.object(key))
        return true
    }

    // MARK: What refers to bytes that are no record

    /// - Parameter stretches: of one segment, in ascending order.
    private func search(_ stretches: [Stretch]) throws(DeviceLogError) {
        let unknown = stretches.filter { !harmless.contains($0) }
        guard !unknown.isEmpty, try isInUse(unknown[0].segment) else { return }
        while true {
            let before = findings
            let references = try log.catalog.references(limit: maximumReferences) { unknown.contain($0) }
            for reference in references { try check(reference, unknown) }
            // What was found refers to other places once it is committed.
            guard references.count == maximumReferences, findings > before else { break }
            _ = log.perform(.wake)
        }
        if harmless.count + unknown.count > Self.maximumHarmless { harmless.removeAll() }
        harmless.formUnion(unknown)
    }

    /// A segment that was given up while it was read holds records of another one.
    private func isInUse(_ segment: UInt32) throws(DeviceLogError) -> Bool { log.liveBytes(of: segment) > 0 }
}

extension [DeviceAudit.Stretch] {
    /// Whether a record reaches into any of them; they are of one segment and in ascending order.
    func contain(_ record: RecordLocation) -> Bool {
        guard record.segment == first?.segment else { return false }
        let end = UInt64(record.offset) + UInt64(record.length)
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = (low + high) / 2
            if UInt64(self[middle].from) < end { low = middle + 1 } else { high = middle }
        }
        return low > startIndex && self[low - 1].to > record.offset
    }
}
