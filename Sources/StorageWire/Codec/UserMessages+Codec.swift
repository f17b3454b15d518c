import NIOCore

extension UserQuery {
    private static let maximumNode = 64
    /// Account, colon and user.
    private static let maximumName = 257

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeShortBytes(node)
        buffer.writeInteger(UInt16(digests.count))
        for digest in digests { buffer.writeInteger(digest) }
        buffer.writeShortBytes(after)
    }

    init(from reader: inout WireReader) throws(WireError) {
        node = try reader.shortBytes()
        guard node.count <= Self.maximumNode else { throw .malformed("node id of \(node.count) bytes") }
        let count = try reader.count(limit: Self.maximumDigests, size: 8)
        digests = []
        digests.reserveCapacity(count)
        for _ in 0..<count { digests.append(try reader.integer()) }
        after = try reader.shortBytes()
        guard after.count <= Self.maximumName else { throw .malformed("name of \(after.count) bytes") }
    }
}

extension UserPage {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.write(isWhole)
        return lines
    }

    init(from reader: inout WireReader) throws(WireError) {
        isWhole = try reader.flag()
        guard reader.remaining <= Self.maximumLines else { throw .malformed("users of \(reader.remaining) bytes") }
        lines = reader.rest()
    }
}
