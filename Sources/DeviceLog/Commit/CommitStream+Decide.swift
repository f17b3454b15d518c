internal import NIOCore
internal import Ring
internal import Synchronization

/// What becomes of each write: whether it is newer, what its record says, what it changes.
extension CommitStream {
    /// An upper bound for the record of an operation.
    func maximumRecordLength(_ queued: QueuedOperation) -> Int {
        switch queued.operation {
        case .write(.tableInfo): RecordHeader.recordLength(metadata: 0, body: configuration.maximumMetadata)
        case .write: RecordHeader.size + queued.size + 64
        // With the metadata of a later update, which the copy takes in.
        case .relocate(let header): Int(header.length) + configuration.maximumMetadata
        case .quarantine: RecordHeader.size
        case .restate:
            RecordHeader.recordLength(
                metadata: configuration.maximumRowName, body: RowContent.fixedSize + configuration.maximumMetadata)
        case .forget, .wake, .forgetLosses: 0
        }
    }

    func decideOperation(_ operation: Operation) throws(DeviceLogError) -> WriteOutcome {
        switch operation {
        case .write(let write): return try decide(write)
        case .relocate(let header): return try relocate(header)
        case .quarantine(let key, let record): return try quarantine(key, record)
        case .restate(let reference, let record): return try restate(reference, record)
        case .forget(let key, let timestamp, let before): return try forget(key, timestamp, before: before)
        case .wake: return .missing
        case .forgetLosses:
            changes.losses = -catalog.memory.withLock { $0.counters.unidentifiedLosses }
            return .stored(position: writer.head)
        }
    }

    private func decide(_ write: Write) throws(DeviceLogError) -> WriteOutcome {
        switch write {
        case .put(let key, let timestamp, let metadata, let body, let condition):
            return try put(key, timestamp, metadata, body, condition)
        case .delete(let key, let timestamp, let metadata):
            return try delete(key, timestamp, metadata)
        case .updateMetadata(let key, let timestamp, let base, let metadata):
            return try update(key, timestamp, base, metadata)
        case .restore(let key, let timestamp, let dataTimestamp, let metadata, let body):
            return try restore(key, timestamp, dataTimestamp, metadata, body)
        case .evict(let key, let timestamp):
            return try evict(key, timestamp)
        case .row(let table, let row):
            return try putRow(table, row)
        case .tableInfo(let table, let transform):
            return try updateInfo(table, transform)
        case .pending(let payload):
            guard !isFull else { return .failed(.full) }
            var header = RecordHeader(kind: .pending)
            header.reference = nextPending
            let record = buffer.append(header, metadata: ByteBuffer(), body: payload)
            changes.set(
                pending: nextPending, from: nil,
                to: PendingEntry(record: record, payload: [UInt8](payload.readableBytesView)))
            nextPending += 1
            return .stored(position: record.position)
        case .pendingDone(let id):
            guard let old = try changes.pending(id) else { return .stored(position: writer.head) }
            var header = RecordHeader(kind: .pendingDone)
            header.reference = id
            let record = buffer.append(header, metadata: ByteBuffer(), body: ByteBuffer())
            changes.set(pending: id, from: old, to: nil)
            return .stored(position: record.position)
        }
    }

    // MARK: Objects

    private func put(
        _ key: ObjectKey, _ timestamp: UInt64, _ metadata: ByteBuffer, _ body: WriteBody, _ condition: WriteCondition
    ) throws(DeviceLogError) -> WriteOutcome {
        let old = try changes.object(key)
        if let old, old.timestamp >= timestamp, !(old.timestamp == timestamp && old.isReplaceable) {
            let isRepetition = old.kind == .live && old.timestamp == timestamp && old.dataTimestamp == timestamp
            if isRepetition { return .stored(position: old.record.position) }
            if case .ifAbsent = condition, old.isObject {
                return .conditionFailed(newest: old.timestamp)
            }
            return .superseded(newest: old.timestamp)
        }
        if case .ifAbsent = condition, let old, old.isObject {
            return .conditionFailed(newest: old.timestamp)
        }
        return appendPut(objectHeader(.put, key, timestamp, dataTimestamp: timestamp), metadata, body, over: old)
    }

    private func restore(
        _ key: ObjectKey, _ timestamp: UInt64, _ dataTimestamp: UInt64, _ metadata: ByteBuffer, _ body: WriteBody
    ) throws(DeviceLogError) -> WriteOutcome {
        let old = try changes.object(key)
        if let old, old.timestamp >= timestamp, !(old.timestamp == timestamp && old.isReplaceable) {
            let isRepetition = old.timestamp == timestamp && old.dataTimestamp == dataTimestamp && old.kind == .live
            return isRepetition ? .stored(position: old.record.position) : .superseded(newest: old.timestamp)
        }
        var header = objectHeader(.put, key, timestamp, dataTimestamp: dataTimestamp)
        header.flags = RecordHeader.flagRelocated
        return appendPut(header, metadata, body, over: old)
    }

    private func appendPut(
        _ header: RecordHeader, _ metadata: ByteBuffer, _ body: WriteBody, over old: ObjectEntry?
    ) -> WriteOutcome {
        guard !isFull else { return .failed(.full) }
        var header = header
        let record: RecordLocation
        switch body {
        case .inline(let bytes):
            header.bodyTotal = UInt64(bytes.readableBytes)
            record = buffer.append(header, metadata: metadata, body: bytes)
        case .blob(let blob):
            guard let description = blob.description else { return .failed(.closed) }
            header.bodyTotal = UInt64(blob.length)
            header.flags |= RecordHeader.flagBlob
            header.reference = blob.id
            record = buffer.append(header, metadata: metadata, body: ByteBuffer(bytes: description.encode()))
        }
        let entry = ObjectEntry(
            kind: .live, timestamp: header.timestamp, dataTimestamp: header.dataTimestamp, record: record, data: .none,
            blob: header.reference)
        changes.set(header.objectKey, from: old, to: entry)
        // What a replicator brings has its rows elsewhere.
        if header.flags & RecordHeader.flagRelocated == 0 { newPositions.append(record.position) }
        return .stored(position: record.position)
    }

    private func evict(_ key: ObjectKey, _ timestamp: UInt64) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(key), old.timestamp == timestamp, old.kind != .evicted else {
            return .missing
        }
        var header = objectHeader(.eviction, key, timestamp, dataTimestamp: 0)
        // What a tombstone hides is older than that; should a rebuild find the tombstone, it does no harm.
        header.reference = UInt64(old.kind == .tombstone ? old.data.segment : writer.segment)
        let record = buffer.append(header, metadata: ByteBuffer(), body: ByteBuffer())
        changes.set(key, from: old, to: .marker(.evicted, header, at: record))
        return .stored(position: record.position)
    }

    private func delete(
        _ key: ObjectKey, _ timestamp: UInt64, _ metadata: ByteBuffer
    ) throws(DeviceLogError) -> WriteOutcome {
        let old = try changes.object(key)
        if let old, old.timestamp >= timestamp {
            if old.timestamp > timestamp { return .superseded(newest: old.timestamp) }
            // At the same timestamp a delete wins over a put, on every replica and in every order.
            if old.kind == .tombstone { return .stored(position: old.record.position) }
        }
        var header = objectHeader(.tombstone, key, timestamp, dataTimestamp: 0)
        header.reference = UInt64(writer.segment)
        let record = buffer.append(header, metadata: metadata, body: ByteBuffer())
        changes.set(key, from: old, to: .marker(.tombstone, header, at: record))
        newPositions.append(record.position)
        return .stored(position: record.position)
    }

    private func update(
        _ key: ObjectKey, _ timestamp: UInt64, _ base: UInt64, _ metadata: ByteBuffer
    ) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(key) else { return .missing }
        if old.timestamp > timestamp { return .superseded(newest: old.timestamp) }
        switch old.kind {
        case .quarantined: return .failed(.quarantined)
        case .tombstone, .removed, .evicted: return .missing
        case .live: break
        }
        guard old.dataTimestamp == base else { return .baseMismatch(newest: old.dataTimestamp) }
        if old.timestamp == timestamp {
            return old.data.length != 0 || old.dataTimestamp != timestamp
                ? .stored(position: old.record.position) : .superseded(newest: timestamp)
        }
        guard !isFull else { return .failed(.full) }
        let header = objectHeader(.metadata, key, timestamp, dataTimestamp: base)
        let record = buffer.append(header, metadata: metadata, body: ByteBuffer())
        var entry = old
        entry.timestamp = timestamp
        entry.record = record
        entry.data = old.body
        changes.set(key, from: old, to: entry)
        newPositions.append(record.position)
        return .stored(position: record.position)
    }

    func objectHeader(
        _ kind: RecordKind, _ key: ObjectKey, _ timestamp: UInt64, dataTimestamp: UInt64
    ) -> RecordHeader {
        var header = RecordHeader(kind: kind)
        header.space = key.policy
        header.hash = key.hash
        header.timestamp = timestamp
        header.dataTimestamp = dataTimestamp
        return header
    }

    // MARK: Tables

    private func putRow(_ table: TableKey, _ row: Row) throws(DeviceLogError) -> WriteOutcome {
        let old = try changes.row(table, row.name)
        if let old {
            if old.timestamp > row.timestamp { return .superseded(newest: old.timestamp) }
            if old.timestamp == row.timestamp {
                let isSame =
                    (old.kind == .deleted) == row.deleted && old.bytes == row.bytes && old.count == row.count
                    && old.bucket == row.bucket && row.value.readableBytesView.elementsEqual(old.value)
                if isSame { return .stored(position: old.record.position) }
                // Two reports of one moment: the later one counts, except that nothing comes back from the dead.
                if old.kind == .deleted, !row.deleted { return .superseded(newest: old.timestamp) }
            }
        }
        guard !isFull || row.deleted else { return .failed(.full) }
        var header = RecordHeader(kind: .row)
        header.space = table.kind.rawValue
        header.hash = table.hash
        header.timestamp = row.timestamp
        header.flags = row.deleted ? RecordHeader.flagDeleted : 0
        let body = RowContent.encode(row)
        let record = row.name.withUnsafeBytes { name in
            body.withUnsafeBytes { buffer.append(header, metadata: name, body: $0) }
        }
        let stored = StoredRow(
            timestamp: row.timestamp, kind: row.deleted ? .deleted : .live, bucket: row.bucket, bytes: row.bytes,
            count: row.count, record: record, value: [UInt8](row.value.readableBytesView))
        try changes.set(table, row.name, from: old, to: stored)
        return .stored(position: record.position)
    }

    private func updateInfo(
        _ table: TableKey, _ transform: (ByteBuffer?, TableStats) -> TableDecision
    ) throws(DeviceLogError) -> WriteOutcome {
        guard !isFull else { return .failed(.full) }
        let state = try changes.table(table)
        switch transform(state.info.map { ByteBuffer(bytes: $0) }, state.stats) {
        case .refuse(let code):
            return .refused(code: code)
        case .replace(let info):
            guard info.readableBytes <= configuration.maximumMetadata else { return .failed(.tooLarge) }
            var header = RecordHeader(kind: .tableInfo)
            header.space = table.kind.rawValue
            header.hash = table.hash
            let record = buffer.append(header, metadata: ByteBuffer(), body: info)
            try changes.set(table, info: [UInt8](info.readableBytesView), record: record)
            return .stored(position: record.position)
        }
    }

    // MARK: Damage and forgetting

    private func quarantine(_ key: ObjectKey, _ damaged: RecordLocation) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(key), old.kind == .live, old.record == damaged || old.data == damaged else {
            return .missing
        }
        let header = objectHeader(.quarantine, key, old.timestamp, dataTimestamp: old.dataTimestamp)
        let record = buffer.append(header, metadata: ByteBuffer(), body: ByteBuffer())
        var entry = old
        entry.kind = .quarantined
        entry.record = record
        entry.data = .none
        changes.set(key, from: old, to: entry)
        return .stored(position: record.position)
    }

    /// The walk that found it is a while ago: meanwhile the object may have come back, and been evicted again, with the same time.
    private func forget(
        _ key: ObjectKey, _ timestamp: UInt64, before oldest: UInt32
    ) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(key), old.kind == .evicted, old.timestamp == timestamp,
            old.data.segment < oldest
        else { return .missing }
        var entry = old
        entry.kind = .removed
        changes.set(key, from: old, to: entry)
        return .stored(position: old.record.position)
    }
}

extension ObjectEntry {
    /// Whether a put of the same time takes its place.
    fileprivate var isReplaceable: Bool { kind == .quarantined || kind == .evicted }
    /// Whether `ifAbsent` fails.
    fileprivate var isObject: Bool { kind == .live || kind == .quarantined }

    /// A tombstone or an eviction.
    static func marker(_ kind: Kind, _ header: RecordHeader, at record: RecordLocation) -> ObjectEntry {
        ObjectEntry(
            kind: kind, timestamp: header.timestamp, dataTimestamp: 0, record: record,
            data: RecordLocation(segment: UInt32(truncatingIfNeeded: header.reference), offset: 0, length: 0), blob: 0)
    }
}
