internal import NIOCore

/// Records that are damaged on the disk while the index holds all that they say: they are written again, so that a rebuild of the
/// index finds them.
extension CommitStream {
    /// `.missing` when nothing refers to the record any more.
    func restate(_ reference: LogReference, _ damaged: RecordLocation) throws(DeviceLogError) -> WriteOutcome {
        switch reference {
        case .object(let key): return try restateMarker(key, damaged)
        case .row(let table, let name): return try restateRow(table, name, damaged)
        case .info(let table):
            var header = RecordHeader(kind: .tableInfo)
            header.space = table.kind.rawValue
            header.hash = table.hash
            return try relocate(header.placed(at: damaged))
        case .pending(let id):
            var header = RecordHeader(kind: .pending)
            header.reference = id
            return try relocate(header.placed(at: damaged))
        }
    }

    /// A tombstone, a note of damage or one of an eviction. The name that a tombstone carries for its row is lost.
    private func restateMarker(_ key: ObjectKey, _ damaged: RecordLocation) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(key), old.record == damaged else { return .missing }
        var header: RecordHeader
        switch old.kind {
        case .live, .removed: return .missing
        case .tombstone:
            header = objectHeader(.tombstone, key, old.timestamp, dataTimestamp: 0)
            header.reference = UInt64(old.data.segment)
        case .evicted:
            header = objectHeader(.eviction, key, old.timestamp, dataTimestamp: 0)
            header.reference = UInt64(old.data.segment)
        case .quarantined:
            header = objectHeader(.quarantine, key, old.timestamp, dataTimestamp: old.dataTimestamp)
        }
        header.flags = RecordHeader.flagRelocated
        let record = buffer.append(header, metadata: ByteBuffer(), body: ByteBuffer())
        var entry = old
        entry.record = record
        changes.set(key, from: old, to: entry)
        return .stored(position: record.position)
    }

    private func restateRow(
        _ table: TableKey, _ name: [UInt8], _ damaged: RecordLocation
    ) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.row(table, name), old.record == damaged else { return .missing }
        var header = RecordHeader(kind: .row)
        header.space = table.kind.rawValue
        header.hash = table.hash
        header.timestamp = old.timestamp
        header.flags = RecordHeader.flagRelocated | (old.kind == .deleted ? RecordHeader.flagDeleted : 0)
        let body = RowContent.encode(old.row(named: name))
        let record = name.withUnsafeBytes { name in
            body.withUnsafeBytes { buffer.append(header, metadata: name, body: $0) }
        }
        var row = old
        row.record = record
        try changes.set(table, name, from: old, to: row)
        return .stored(position: record.position)
    }
}

extension RecordHeader {
    /// As if it had been read from there.
    fileprivate func placed(at location: RecordLocation) -> RecordHeader {
        var header = self
        header.segment = location.segment
        header.offset = location.offset
        header.length = location.length
        return header
    }
}
