internal import NIOCore

/// The body of a row's record: bucket, sums, value. The name is the record's metadata.
enum RowContent {
    static let fixedSize = 17

    static func encode(_ row: Row) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(fixedSize + row.value.readableBytes)
        bytes.append(row.bucket)
        bytes.append(little: row.bytes)
        bytes.append(little: row.count)
        bytes.append(contentsOf: row.value.readableBytesView)
        return bytes
    }

    /// Nil when the bytes are too short.
    static func decode(_ header: RecordHeader, _ body: UnsafeRawBufferPointer) -> StoredRow? {
        var reader = ByteReader(body)
        guard let bucket = reader.next(UInt8.self), let bytes = reader.next(Int64.self),
            let count = reader.next(Int64.self), let value = reader.next(count: reader.remaining)
        else { return nil }
        return StoredRow(
            timestamp: header.timestamp, kind: header.flags & RecordHeader.flagDeleted != 0 ? .deleted : .live,
            bucket: bucket, bytes: bytes, count: count, record: header.location, value: [UInt8](value))
    }
}
