package import NIOCore

/// What an account's listing keeps of a container besides its sums.
package struct ContainerRowValue: Equatable, Sendable {
    /// When the container was made or last PUT.
    package var put: Timestamp

    package init(put: Timestamp) { self.put = put }

    package func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(put.rawValue)
        return buffer
    }

    package init(decoding buffer: ByteBuffer) throws(WireError) {
        var reader = WireReader(buffer)
        put = Timestamp(rawValue: try reader.integer())
        try reader.expectEnd()
    }
}
