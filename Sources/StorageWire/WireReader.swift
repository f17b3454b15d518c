package import NIOCore

/// What can go wrong between two nodes.
package enum WireError: Error, Equatable, Sendable {
    /// The bytes are not what the format says; the connection is of no more use.
    case malformed(String)
    /// The message is sound as far as it can be read, and of a kind that this program does not know.
    case unsupported(String)
    /// The peer speaks another version or does not hold the cluster's key.
    case refused(String)
    /// No connection, or it broke before the answer came.
    case unreachable(String)
    /// The deadline of the call passed.
    case deadline
}

/// Reads a message's fields; every length is checked against what is there before anything is allocated.
package struct WireReader: ~Copyable {
    private var buffer: ByteBuffer

    package init(_ buffer: ByteBuffer) { self.buffer = buffer }

    package var remaining: Int { buffer.readableBytes }

    package mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(WireError) -> T {
        guard let value: T = buffer.readInteger() else { throw .malformed("message ends within a number") }
        return value
    }

    package mutating func flag() throws(WireError) -> Bool {
        switch try integer(UInt8.self) {
        case 0: false
        case 1: true
        default: throw .malformed("flag is neither 0 nor 1")
        }
    }

    /// Bytes with a 16-bit length before them.
    package mutating func shortBytes() throws(WireError) -> [UInt8] {
        let count = Int(try integer(UInt16.self))
        guard let bytes = buffer.readBytes(length: count) else { throw .malformed("message ends within a field") }
        return bytes
    }

    /// Bytes with a 32-bit length before them, as a slice of the message.
    package mutating func slice() throws(WireError) -> ByteBuffer {
        let count = Int(try integer(UInt32.self))
        guard let slice = buffer.readSlice(length: count) else { throw .malformed("message ends within a field") }
        return slice
    }

    /// Everything that is left.
    package mutating func rest() -> ByteBuffer {
        let slice = buffer.slice()
        buffer.moveReaderIndex(to: buffer.writerIndex)
        return slice
    }

    package func expectEnd() throws(WireError) {
        guard buffer.readableBytes == 0 else { throw .malformed("\(buffer.readableBytes) bytes too many") }
    }
}

extension ByteBuffer {
    /// Bytes with a 16-bit length before them; what is longer is a mistake of the caller, since every field is limited at the door.
    package mutating func writeShortBytes(_ bytes: some Collection<UInt8>) {
        writeInteger(UInt16(bytes.count))
        writeBytes(bytes)
    }

    /// A slice with a 32-bit length before it.
    package mutating func writeSlice(_ slice: ByteBuffer) {
        writeInteger(UInt32(slice.readableBytes))
        writeImmutableBuffer(slice)
    }
}
