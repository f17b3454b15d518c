package import NIOCore

/// What a store knows of an object besides its bytes. It is written once by the proxy, kept as the record's metadata, and handed back as it is.
///
/// Encoded form: Documentation/formats/object-head.md.
package struct ObjectHead: Equatable, Sendable {
    package var account: [UInt8]
    package var container: [UInt8]
    package var object: [UInt8]
    /// Bytes of the body.
    package var size: Int64
    /// MD5 of the body, 16 bytes.
    package var etag: [UInt8]
    package var contentType: [UInt8]
    /// Seconds since 1970 when the object ceases to be, 0 for never.
    package var deleteAt: Int64
    /// Further headers, names in the case in which they are given back.
    package var headers: [Header]

    package struct Header: Equatable, Sendable {
        package var name: [UInt8]
        package var value: [UInt8]

        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    package static let version: UInt8 = 1
    /// Most headers that a head may carry; OpenStack's limit for user metadata is 90.
    package static let maximumHeaders = 256

    package init(
        account: [UInt8], container: [UInt8], object: [UInt8], size: Int64, etag: [UInt8], contentType: [UInt8],
        deleteAt: Int64 = 0, headers: [Header] = []
    ) {
        self.account = account
        self.container = container
        self.object = object
        self.size = size
        self.etag = etag
        self.contentType = contentType
        self.deleteAt = deleteAt
        self.headers = headers
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.version)
        buffer.writeInteger(size)
        buffer.writeInteger(deleteAt)
        buffer.writeShortBytes(etag)
        buffer.writeShortBytes(account)
        buffer.writeShortBytes(container)
        buffer.writeShortBytes(object)
        buffer.writeShortBytes(contentType)
        buffer.writeInteger(UInt16(headers.count))
        for header in headers {
            buffer.writeShortBytes(header.name)
            buffer.writeShortBytes(header.value)
        }
    }

    /// When an object with this encoded head ceases to be; 0 for never, and for what is no head. Reads nothing else.
    package static func deleteAt(of encoded: ByteBuffer) -> Int64 {
        let place = encoded.readerIndex + MemoryLayout<UInt8>.size + MemoryLayout<Int64>.size
        return encoded.getInteger(at: place) ?? 0
    }

    package func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(64 + account.count + container.count + object.count + contentType.count)
        encode(into: &buffer)
        return buffer
    }

    /// - Throws: `WireError.malformed` for anything that `encode` did not write.
    package init(decoding buffer: ByteBuffer) throws(WireError) {
        var reader = WireReader(buffer)
        guard try reader.integer(UInt8.self) == Self.version else { throw .malformed("object head version") }
        size = try reader.integer()
        deleteAt = try reader.integer()
        etag = try reader.shortBytes()
        account = try reader.shortBytes()
        container = try reader.shortBytes()
        object = try reader.shortBytes()
        contentType = try reader.shortBytes()
        let count = Int(try reader.integer(UInt16.self))
        guard count <= Self.maximumHeaders else { throw .malformed("object head has too many headers") }
        headers = []
        headers.reserveCapacity(count)
        for _ in 0..<count {
            headers.append(Header(name: try reader.shortBytes(), value: try reader.shortBytes()))
        }
        try reader.expectEnd()
    }
}
