internal import NIOCore
internal import Ring

/// Copies of records that still count, from a segment with much garbage to the head of the log.
extension CommitStream {
    /// `.missing` when the record does not count any more, `.failed(.corrupt)` when it is damaged.
    func relocate(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        switch header.kind {
        case .put, .metadata: return try relocateObject(header)
        case .tombstone, .quarantine, .eviction: return try relocateMarker(header)
        case .row: return try relocateRow(header)
        case .tableInfo: return try relocateInfo(header)
        case .pending: return try relocatePending(header)
        case .pendingDone: return .missing
        }
    }

    /// Body and newest metadata become one record, so that neither depends on another segment any more.
    private func relocateObject(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        let key = header.objectKey
        guard let old = try changes.object(key), old.kind == .live,
            old.record == header.location || old.data == header.location
        else { return .missing }
        // Its own batch may hold the newer part, which cannot be read yet: the next attempt will.
        guard old.record.position < writer.head, old.body.position < writer.head else { return .failed(.busy) }
        let (dataHeader, content) = try reader.record(at: old.body, mayBlock: true)
        guard dataHeader.hash == key.hash else { throw .corrupt }
        var metadata = content.getSlice(at: content.readerIndex, length: Int(dataHeader.metadataLength)) ?? content
        if old.data.length != 0 { (_, metadata) = try reader.metadata(at: old.record, mayBlock: true) }
        let bodyStart = content.readerIndex + Int(dataHeader.metadataLength)
        let body = content.getSlice(at: bodyStart, length: Int(dataHeader.bodyLength)) ?? ByteBuffer()

        var copy = objectHeader(.put, key, old.timestamp, dataTimestamp: old.dataTimestamp)
        copy.flags = dataHeader.flags & RecordHeader.flagBlob | RecordHeader.flagRelocated
        copy.bodyTotal = dataHeader.bodyTotal
        copy.reference = dataHeader.reference
        let record = buffer.append(copy, metadata: metadata, body: body)
        var entry = old
        entry.record = record
        entry.data = .none
        changes.set(key, from: old, to: entry)
        return .stored(position: record.position)
    }

    private func relocateMarker(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.object(header.objectKey), old.record == header.location else { return .missing }
        var copy = header
        copy.flags |= RecordHeader.flagRelocated
        let (_, metadata) = try reader.metadata(at: header.location, mayBlock: true)
        let record = buffer.append(copy, metadata: metadata, body: ByteBuffer())
        var entry = old
        entry.record = record
        changes.set(header.objectKey, from: old, to: entry)
        return .stored(position: record.position)
    }

    private func relocateRow(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        guard let kind = TableKind(rawValue: header.space) else { throw .corrupt }
        let table = TableKey(kind: kind, hash: header.hash)
        let (_, content) = try reader.record(at: header.location, mayBlock: true)
        guard let name = content.getBytes(at: content.readerIndex, length: Int(header.metadataLength)) else {
            throw .corrupt
        }
        guard let old = try changes.row(table, name), old.record == header.location else { return .missing }
        var copy = header
        copy.flags |= RecordHeader.flagRelocated
        let record = content.withUnsafeReadableBytes { content in
            buffer.append(
                copy, metadata: content.part(0, Int(header.metadataLength)),
                body: content.part(Int(header.metadataLength), Int(header.bodyLength)))
        }
        var row = old
        row.record = record
        try changes.set(table, name, from: old, to: row)
        return .stored(position: record.position)
    }

    private func relocateInfo(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        guard let kind = TableKind(rawValue: header.space) else { throw .corrupt }
        let table = TableKey(kind: kind, hash: header.hash)
        let state = try changes.table(table)
        guard let info = state.info, state.infoRecord == header.location else { return .missing }
        var copy = header
        copy.flags |= RecordHeader.flagRelocated
        let record = buffer.append(copy, metadata: ByteBuffer(), body: ByteBuffer(bytes: info))
        try changes.set(table, info: info, record: record)
        return .stored(position: record.position)
    }

    private func relocatePending(_ header: RecordHeader) throws(DeviceLogError) -> WriteOutcome {
        guard let old = try changes.pending(header.reference), old.record == header.location else { return .missing }
        var copy = header
        copy.flags |= RecordHeader.flagRelocated
        let record = buffer.append(copy, metadata: ByteBuffer(), body: ByteBuffer(bytes: old.payload))
        changes.set(pending: header.reference, from: old, to: PendingEntry(record: record, payload: old.payload))
        return .stored(position: record.position)
    }
}
