internal import NIOCore
internal import Ring
internal import Synchronization

/// Applies the records behind the index's position, one batch later than it reads them: a batch is known to be whole
/// once a later one shows up.
struct Replay {
    private struct Held {
        var header: RecordHeader
        /// Of records whose content belongs into the index; nil when it does not verify.
        var content: [UInt8]?
    }

    private let catalog: Catalog
    private let memoryEntries: Int
    private let covered: LogPosition
    private let firstPosition: LogPosition
    private let changes: Changes
    private var files: SegmentFiles?

    private var batch: UInt64 = 0
    private var held: [Held] = []
    /// Where inside the held batch the first damage is.
    private var heldDamage: LogPosition?
    /// Damage behind the last record, of which it is not known yet to which batch it belongs.
    private var openDamage: [LogPosition] = []

    private(set) var end: LogPosition
    private(set) var highestBatch: UInt64
    private(set) var losses: Int64 = 0
    private(set) var records = 0
    private(set) var unconfirmed: [ObjectKey] = []
    private(set) var oldestUnconfirmed: LogPosition?
    /// Whether the last segment that was read says where it ends: then its last batch was synced too.
    private var isSealed = true

    init(catalog: Catalog, state: IndexState, memoryEntries: Int) {
        self.catalog = catalog
        self.memoryEntries = memoryEntries
        covered = state.covered
        firstPosition = min(state.covered, state.unconfirmed)
        changes = Changes(catalog)
        end = state.covered
        highestBatch = state.batch
    }

    /// Reads all segments from the first position on; tells before each how many are read, of how many.
    mutating func walk(
        _ segments: [UInt32], seals: [UInt32: SegmentSeal], files: SegmentFiles, progress: (Int, Int) -> Void
    ) throws(DeviceLogError) {
        self.files = files
        let wanted = segments.filter { $0 >= firstPosition.segment }
        for (place, segment) in wanted.enumerated() {
            progress(place, wanted.count)
            let isFirst = segment == firstPosition.segment && firstPosition.offset > 0
            do {
                let scanner = try SegmentScanner(
                    segment: segment, file: files.file(segment),
                    from: isFirst ? firstPosition.offset : UInt32(SegmentHeader.reserved), end: seals[segment]?.end,
                    minimumBatch: isFirst && covered <= firstPosition ? highestBatch + 1 : 0)
                try walk(scanner, isSealed: seals[segment] != nil)
            } catch let error as FileError {
                throw DeviceLogError(error)
            } catch {
                throw error as? DeviceLogError ?? .closed
            }
        }
    }

    private mutating func walk(_ scanner: SegmentScanner, isSealed: Bool) throws {
        while true {
            switch try scanner.next() {
            case .record(let header):
                highestBatch = max(highestBatch, header.batch)
                if header.batch != batch { try beginBatch(header) }
                self.isSealed = isSealed
                try hold(header, scanner)
            case .damage(let from, _):
                openDamage.append(LogPosition(segment: scanner.segment, offset: from))
            case .end:
                if isSealed {
                    settleDamage(before: LogPosition(segment: scanner.segment + 1, offset: 0))
                }
                return
            }
        }
    }

    /// A new batch: everything before its start was synced.
    private mutating func beginBatch(_ header: RecordHeader) throws(DeviceLogError) {
        let start = LogPosition(rawValue: header.position.rawValue - UInt64(header.batchOffset))
        settleDamage(before: start)
        if let heldDamage, heldDamage >= covered { losses += 1 }
        try applyHeld(to: held.count)
        heldDamage = openDamage.first
        openDamage.removeAll()
        batch = header.batch
    }

    private mutating func settleDamage(before start: LogPosition) {
        let settled = openDamage.filter { $0 < start }
        openDamage.removeAll { $0 < start }
        losses += Int64(settled.filter { $0 >= covered }.count)
    }

    private mutating func hold(_ header: RecordHeader, _ scanner: SegmentScanner) throws {
        if let first = openDamage.first {
            heldDamage = heldDamage ?? first
            openDamage.removeAll()
        }
        switch header.kind {
        case .row, .tableInfo, .pending:
            held.append(Held(header: header, content: try scanner.content(of: header).map { [UInt8]($0) }))
        case .put, .tombstone, .metadata, .pendingDone, .quarantine, .eviction:
            held.append(Held(header: header, content: []))
        }
    }

    /// The last batch: unless it is known to be whole, its intact beginning counts.
    mutating func finish() throws(DeviceLogError) {
        var count = isSealed ? held.count : 0
        if isSealed, let heldDamage, heldDamage >= covered { losses += 1 }
        while count < held.count {
            let header = held[count].header
            if let heldDamage, heldDamage < header.position { break }
            guard try isIntact(held[count]) else { break }
            count += 1
        }
        try applyHeld(to: count)
        catalog.memory.withLock { $0.counters.unidentifiedLosses += losses }
    }

    private func isIntact(_ record: Held) throws(DeviceLogError) -> Bool {
        guard record.content != nil, let files else { return false }
        do throws(FileError) {
            let header = record.header
            let scanner = try SegmentScanner(
                segment: header.segment, file: files.file(header.segment), from: header.offset, end: nil,
                minimumBatch: 0)
            return try scanner.content(of: header) != nil
        } catch {
            throw DeviceLogError(error)
        }
    }

    // MARK: Applying

    private mutating func applyHeld(to count: Int) throws(DeviceLogError) {
        changes.removeAll()
        for record in held[..<count] {
            let position = record.header.position
            noteUnconfirmed(record.header)
            guard position >= covered else { continue }
            records += 1
            end = LogPosition(segment: record.header.segment, offset: record.header.end)
            try apply(record)
        }
        held.removeAll(keepingCapacity: true)
        catalog.apply(changes)
        guard catalog.waiting >= memoryEntries else { return }
        let oldest = oldestUnconfirmed ?? end
        if catalog.beginFlush(covered: end, batch: batch, unconfirmed: oldest) != nil { try catalog.finishFlush() }
    }

    private mutating func noteUnconfirmed(_ header: RecordHeader) {
        switch header.kind {
        case .put, .tombstone, .metadata: break
        case .row, .tableInfo, .pending, .pendingDone, .quarantine, .eviction: return
        }
        guard header.flags & RecordHeader.flagRelocated == 0, header.position >= firstPosition else { return }
        oldestUnconfirmed = oldestUnconfirmed ?? header.position
        unconfirmed.append(header.objectKey)
    }

    private mutating func apply(_ record: Held) throws(DeviceLogError) {
        let header = record.header
        switch header.kind {
        case .put, .tombstone, .metadata, .quarantine, .eviction:
            try applyObject(header)
        case .row, .tableInfo, .pending:
            guard let content = record.content else {
                losses += 1
                return
            }
            try applyContent(header, content)
        case .pendingDone:
            if let old = try changes.pending(header.reference) {
                changes.set(pending: header.reference, from: old, to: nil)
            }
            let next = header.reference + 1
            catalog.memory.withLock { $0.nextPending = max($0.nextPending, next) }
        }
    }

    private func applyObject(_ header: RecordHeader) throws(DeviceLogError) {
        let key = header.objectKey
        let old = try changes.object(key)
        let oldTimestamp = old?.timestamp ?? 0
        guard header.timestamp >= oldTimestamp else { return }
        let isSameTime = old != nil && header.timestamp == oldTimestamp
        let location = header.location
        switch header.kind {
        case .put:
            if isSameTime, old?.kind == .tombstone { return }
            changes.set(
                key, from: old,
                to: ObjectEntry(
                    kind: .live, timestamp: header.timestamp, dataTimestamp: header.dataTimestamp, record: location,
                    data: .none, blob: header.flags & RecordHeader.flagBlob != 0 ? header.reference : 0))
        case .tombstone:
            changes.set(key, from: old, to: .marker(.tombstone, header, at: location))
        case .eviction:
            changes.set(key, from: old, to: .marker(.evicted, header, at: location))
        case .metadata:
            guard !isSameTime, var entry = old, entry.kind == .live, entry.dataTimestamp == header.dataTimestamp
            else { return }
            entry.data = entry.body
            entry.record = location
            entry.timestamp = header.timestamp
            changes.set(key, from: old, to: entry)
        case .quarantine:
            if isSameTime, old?.kind == .tombstone { return }
            changes.set(
                key, from: old,
                to: ObjectEntry(
                    kind: .quarantined, timestamp: header.timestamp, dataTimestamp: header.dataTimestamp,
                    record: location, data: .none, blob: old?.blob ?? 0))
        case .row, .tableInfo, .pending, .pendingDone:
            break
        }
    }

    private mutating func applyContent(_ header: RecordHeader, _ content: [UInt8]) throws(DeviceLogError) {
        if header.kind == .pending {
            let old = try changes.pending(header.reference)
            changes.set(
                pending: header.reference, from: old, to: PendingEntry(record: header.location, payload: content))
            return
        }
        guard let kind = TableKind(rawValue: header.space) else {
            losses += 1
            return
        }
        let table = TableKey(kind: kind, hash: header.hash)
        if header.kind == .tableInfo {
            try changes.set(table, info: content, record: header.location)
            return
        }
        let name = Array(content[..<Int(header.metadataLength)])
        let row = content.withUnsafeBytes {
            RowContent.decode(header, $0.part(Int(header.metadataLength), Int(header.bodyLength)))
        }
        guard let row else {
            losses += 1
            return
        }
        let old = try changes.row(table, name)
        if let old {
            if old.timestamp > row.timestamp { return }
            if old.timestamp == row.timestamp, old.kind == .deleted, row.kind == .live { return }
        }
        try changes.set(table, name, from: old, to: row)
    }
}
