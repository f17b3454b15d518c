package import NIOCore

/// Header lines of a response, written as bytes the moment they are appended.
///
/// The encoder adds `Content-Length` or `Transfer-Encoding`, `Connection` and `Date`; do not append those. CR, LF and
/// NUL in a value become spaces, so that no value can begin a line of its own (response splitting).
package struct ResponseHeaders: Sendable {
    /// The lines, each with its CRLF.
    package private(set) var bytes: ByteBuffer

    /// Room for `capacity` bytes before the storage grows.
    package init(capacity: Int = 256) {
        bytes = ByteBuffer()
        bytes.reserveCapacity(capacity)
    }

    /// Appends a line with a constant value.
    package mutating func append(_ name: StaticString, _ value: StaticString) {
        appendName(name)
        appendValue(UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    /// Appends a line with a value of text.
    @_disfavoredOverload
    package mutating func append(_ name: StaticString, _ value: String) {
        appendName(name)
        var value = value
        value.withUTF8 { appendValue(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a line with the readable bytes of a buffer.
    package mutating func append(_ name: StaticString, _ value: ByteBuffer) {
        appendName(name)
        value.withUnsafeReadableBytes { appendValue($0) }
    }

    /// Appends a line with the bytes of a view, such as a header of the request.
    package mutating func append(_ name: StaticString, _ value: ByteBufferView) {
        appendName(name)
        value.withUnsafeBytes { appendValue($0) }
    }

    /// Appends a line with these bytes.
    package mutating func append(_ name: StaticString, bytes value: UnsafeRawBufferPointer) {
        appendName(name)
        appendValue(value)
    }

    /// Appends a line with a decimal number, of at most 64 bits.
    package mutating func append(_ name: StaticString, _ value: some FixedWidthInteger) {
        appendName(name)
        bytes.writeDecimal(value)
        bytes.writeCRLF()
    }

    /// Appends a line whose name is not known before, such as user metadata. Returns false and appends nothing when the
    /// name is empty or has a byte that is not allowed in a name (RFC 9110 5.6.2).
    @discardableResult
    package mutating func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) -> Bool {
        guard !name.isEmpty, name.allSatisfy({ CharacterClass.isToken($0) }) else { return false }
        bytes.writeBytes(name)
        bytes.writeStaticString(": ")
        appendValue(value)
        return true
    }

    private mutating func appendName(_ name: StaticString) {
        bytes.writeStaticString(name)
        bytes.writeStaticString(": ")
    }

    private mutating func appendValue(_ value: UnsafeRawBufferPointer) {
        let start = bytes.writerIndex
        bytes.writeBytes(value)
        if value.contains(where: { $0 == 0x0D || $0 == 0x0A || $0 == 0 }) {
            for index in start..<bytes.writerIndex {
                let byte = bytes.getInteger(at: index, as: UInt8.self)
                if byte == 0x0D || byte == 0x0A || byte == 0 { bytes.setInteger(UInt8(ascii: " "), at: index) }
            }
        }
        bytes.writeCRLF()
    }
}
