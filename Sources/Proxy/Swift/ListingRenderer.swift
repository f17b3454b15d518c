package import NIOCore

/// Writes the listing of an account or a container row by row, so that memory does not grow with its length.
///
///     var renderer = ListingRenderer(.container, named: container, format: .json)
///     renderer.begin(into: &buffer)
///     renderer.object(name: row.name, hash: row.hash, bytes: row.size, contentType: row.type,
///         lastModified: row.timestamp, into: &buffer)
///     renderer.end(into: &buffer)
///
/// Names are valid UTF-8: `SwiftPath` lets no others in.
package struct ListingRenderer {
    private let kind: ListingQuery.Kind
    private let name: [UInt8]
    private let format: ListingFormat
    private var isFirst = true
    private var clock = ISOClock()

    /// - Parameter name: of the account or container; XML shows it.
    package init(_ kind: ListingQuery.Kind, named name: [UInt8], format: ListingFormat) {
        self.kind = kind
        self.name = name
        self.format = format
    }

    /// 200, but 204 for an empty listing in plain text.
    package static func status(format: ListingFormat, isEmpty: Bool) -> Int {
        format == .text && isEmpty ? 204 : 200
    }

    /// What precedes the first row.
    package mutating func begin(into buffer: inout ByteBuffer) {
        switch format {
        case .text:
            break
        case .json:
            buffer.writeStaticString("[")
        case .xml, .textXML:
            buffer.writeStaticString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
            buffer.writeStaticString(kind == .account ? "<account name=\"" : "<container name=\"")
            write(room: name.count, into: &buffer) { cursor in name.withUnsafeBytes { cursor.put(xml: $0) } }
            buffer.writeStaticString(kind == .account ? "\">\n" : "\">")
        }
    }

    /// What follows the last row.
    package mutating func end(into buffer: inout ByteBuffer) {
        switch format {
        case .text: break
        case .json: buffer.writeStaticString("]")
        case .xml, .textXML: buffer.writeStaticString(kind == .account ? "</account>" : "</container>")
        }
    }

    /// An object of a container.
    /// - Parameters:
    ///   - hash: the ETag as text, without quotes.
    ///   - bytes: the object's size.
    ///   - lastModified: 10 µs ticks since the epoch.
    package mutating func object(
        name: some Collection<UInt8>, hash: some Collection<UInt8>, bytes: UInt64, contentType: some Collection<UInt8>,
        lastModified: UInt64, into buffer: inout ByteBuffer
    ) {
        name.withRawBytes { name in
            hash.withRawBytes { hash in
                contentType.withRawBytes { type in
                    let room = name.count + hash.count + type.count
                    switch format {
                    case .text:
                        writeLine(name, into: &buffer)
                    case .json:
                        write(room: room, into: &buffer) {
                            putJSON(name, hash, bytes, type, lastModified, &$0)
                        }
                    case .xml, .textXML:
                        write(room: room, into: &buffer) { putXML(name, hash, bytes, type, lastModified, &$0) }
                    }
                }
            }
        }
    }

    /// A container of an account.
    /// - Parameters:
    ///   - count: its objects.
    ///   - bytes: their sizes together.
    ///   - lastModified: 10 µs ticks since the epoch.
    ///   - policy: name of its storage policy.
    package mutating func container(
        name: some Collection<UInt8>, count: UInt64, bytes: UInt64, lastModified: UInt64,
        policy: some Collection<UInt8>, into buffer: inout ByteBuffer
    ) {
        name.withRawBytes { name in
            policy.withRawBytes { policy in
                let room = name.count + policy.count
                switch format {
                case .text:
                    writeLine(name, into: &buffer)
                case .json:
                    write(room: room, into: &buffer) { putJSON(name, count, bytes, lastModified, policy, &$0) }
                case .xml, .textXML:
                    write(room: room, into: &buffer) { putXML(name, count, bytes, lastModified, policy, &$0) }
                }
            }
        }
    }

    /// Names that share what precedes a delimiter; `name` ends with the delimiter.
    package mutating func subdir(_ name: some Collection<UInt8>, into buffer: inout ByteBuffer) {
        name.withRawBytes { name in
            switch format {
            case .text:
                writeLine(name, into: &buffer)
            case .json:
                write(room: name.count, into: &buffer) { cursor in
                    putSeparator(&cursor)
                    cursor.put("{\"subdir\":\"")
                    cursor.put(json: name)
                    cursor.put("\"}")
                }
            case .xml, .textXML:
                write(room: name.count * 2, into: &buffer) { cursor in
                    cursor.put("<subdir name=\"")
                    cursor.put(xml: name)
                    if kind == .account {
                        cursor.put("\" />\n")
                    } else {
                        cursor.put("\"><name>")
                        cursor.put(xml: name)
                        cursor.put("</name></subdir>")
                    }
                }
            }
        }
    }

    // MARK: Rows

    private mutating func putJSON(
        _ name: UnsafeRawBufferPointer, _ hash: UnsafeRawBufferPointer, _ bytes: UInt64,
        _ type: UnsafeRawBufferPointer, _ lastModified: UInt64, _ cursor: inout ByteCursor
    ) {
        putSeparator(&cursor)
        cursor.put("{\"name\":\"")
        cursor.put(json: name)
        cursor.put("\",\"hash\":\"")
        cursor.put(json: hash)
        cursor.put("\",\"bytes\":")
        cursor.put(decimal: bytes)
        cursor.put(",\"content_type\":\"")
        cursor.put(json: type)
        cursor.put("\",\"last_modified\":\"")
        clock.put(lastModified, into: &cursor)
        cursor.put("\"}")
    }

    private mutating func putXML(
        _ name: UnsafeRawBufferPointer, _ hash: UnsafeRawBufferPointer, _ bytes: UInt64,
        _ type: UnsafeRawBufferPointer, _ lastModified: UInt64, _ cursor: inout ByteCursor
    ) {
        cursor.put("<object><name>")
        cursor.put(xml: name)
        cursor.put("</name><hash>")
        cursor.put(xml: hash)
        cursor.put("</hash><bytes>")
        cursor.put(decimal: bytes)
        cursor.put("</bytes><content_type>")
        cursor.put(xml: type)
        cursor.put("</content_type><last_modified>")
        clock.put(lastModified, into: &cursor)
        cursor.put("</last_modified></object>")
    }

    private mutating func putJSON(
        _ name: UnsafeRawBufferPointer, _ count: UInt64, _ bytes: UInt64, _ lastModified: UInt64,
        _ policy: UnsafeRawBufferPointer, _ cursor: inout ByteCursor
    ) {
        putSeparator(&cursor)
        cursor.put("{\"name\":\"")
        cursor.put(json: name)
        cursor.put("\",\"count\":")
        cursor.put(decimal: count)
        cursor.put(",\"bytes\":")
        cursor.put(decimal: bytes)
        cursor.put(",\"last_modified\":\"")
        clock.put(lastModified, into: &cursor)
        cursor.put("\",\"storage_policy\":\"")
        cursor.put(json: policy)
        cursor.put("\"}")
    }

    private mutating func putXML(
        _ name: UnsafeRawBufferPointer, _ count: UInt64, _ bytes: UInt64, _ lastModified: UInt64,
        _ policy: UnsafeRawBufferPointer, _ cursor: inout ByteCursor
    ) {
        cursor.put("<container><name>")
        cursor.put(xml: name)
        cursor.put("</name><count>")
        cursor.put(decimal: count)
        cursor.put("</count><bytes>")
        cursor.put(decimal: bytes)
        cursor.put("</bytes><last_modified>")
        clock.put(lastModified, into: &cursor)
        cursor.put("</last_modified><storage_policy>")
        cursor.put(xml: policy)
        cursor.put("</storage_policy></container>\n")
    }

    private mutating func putSeparator(_ cursor: inout ByteCursor) {
        if isFirst {
            isFirst = false
        } else {
            cursor.put(UInt8(ascii: ","))
        }
    }

    private func writeLine(_ name: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        buffer.writeBytes(name)
        buffer.writeInteger(UInt8(ascii: "\n"))
    }

    /// All keys, tags, numbers and dates of the longest row fit into this.
    private static let fixedRoom = 320

    /// Assures memory for `room` bytes of text at their longest, and lets `body` write.
    @inline(__always)
    private func write(room: Int, into buffer: inout ByteBuffer, _ body: (inout ByteCursor) -> Void) {
        let bound = room * ByteCursor.longestEscape + Self.fixedRoom
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { memory in
            guard let start = memory.baseAddress else { return 0 }
            var cursor = ByteCursor(start)
            body(&cursor)
            return cursor.position - start
        }
    }
}

/// Writes `2014-06-11T05:31:17.041880`, remembering the date: neighbouring rows are often of one day.
private struct ISOClock {
    private var day: UInt64 = .max
    /// `2014-06-11T`
    private var date: [UInt8] = []

    mutating func put(_ ticks: UInt64, into cursor: inout ByteCursor) {
        let seconds = ticks / SwiftTimestamp.ticksPerSecond
        if seconds / 86_400 != day {
            day = seconds / 86_400
            date = Array(SwiftTimestamp.iso(ticks).prefix(11))
        }
        date.withUnsafeBytes { cursor.put($0) }
        let second = seconds % 86_400
        cursor.put(decimal: second / 3600, digits: 2)
        cursor.put(UInt8(ascii: ":"))
        cursor.put(decimal: second / 60 % 60, digits: 2)
        cursor.put(UInt8(ascii: ":"))
        cursor.put(decimal: second % 60, digits: 2)
        cursor.put(UInt8(ascii: "."))
        cursor.put(decimal: ticks % SwiftTimestamp.ticksPerSecond, digits: 5)
        cursor.put(UInt8(ascii: "0"))
    }
}

extension Collection<UInt8> {
    /// The bytes as raw memory, copied only when they are not contiguous.
    @inline(__always)
    func withRawBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let result = withContiguousStorageIfAvailable({ body(UnsafeRawBufferPointer($0)) }) { return result }
        return Array(self).withUnsafeBytes(body)
    }
}
