/// Writes bytes forward through memory whose size the caller has already assured.
struct ByteCursor {
    private(set) var position: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer) {
        position = start
    }

    @inline(__always)
    mutating func put(_ byte: UInt8) {
        position.storeBytes(of: byte, as: UInt8.self)
        position += 1
    }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        position.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        position += text.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        position.copyMemory(from: base, byteCount: bytes.count)
        position += bytes.count
    }

    /// At most 20 bytes.
    mutating func put(decimal value: UInt64) {
        var digits = 1
        var bound: UInt64 = 10
        while digits < 20, value >= bound {
            digits += 1
            let (next, overflow) = bound.multipliedReportingOverflow(by: 10)
            bound = overflow ? .max : next
        }
        put(decimal: value, digits: digits)
    }

    /// Exactly `digits` bytes, with leading zeros.
    @inline(__always)
    mutating func put(decimal value: UInt64, digits: Int) {
        var rest = value
        var index = digits - 1
        while index >= 0 {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            (position + index).storeBytes(of: 48 &+ UInt8(truncatingIfNeeded: digit), as: UInt8.self)
            rest = quotient
            index -= 1
        }
        position += digits
    }

    // MARK: Escaped text

    /// Longest escape of one byte in JSON or XML.
    static let longestEscape = 6

    /// The inside of a JSON string (RFC 8259 7). Text beyond ASCII stays UTF-8.
    mutating func put(json text: UnsafeRawBufferPointer) {
        copy(text, isClean: { Self.isCleanJSON($0) }, escape: { $0.putEscapedJSON($1) })
    }

    /// Character data or an attribute value of XML 1.0. Characters that XML cannot carry become U+FFFD.
    mutating func put(xml text: UnsafeRawBufferPointer) {
        copy(text, isClean: { Self.isCleanXML($0) }, escape: { $0.putEscapedXML($1) })
    }

    /// Copies eight bytes at a time while none of them needs an escape.
    @inline(__always)
    private mutating func copy(
        _ text: UnsafeRawBufferPointer, isClean: (UInt64) -> Bool, escape: (inout ByteCursor, UInt8) -> Void
    ) {
        var index = 0
        while index < text.count {
            if index + 8 <= text.count {
                let word = text.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                if isClean(word) {
                    position.storeBytes(of: word, as: UInt64.self)
                    position += 8
                    index += 8
                    continue
                }
            }
            let end = min(index + 8, text.count)
            // Not to stop inside a character: U+FFFE is recognised by its bytes.
            while index < end || (index < text.count && text[index] & 0xC0 == 0x80) {
                escape(&self, text[index])
                index += 1
            }
        }
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let tops: UInt64 = 0x8080_8080_8080_8080

    /// The top bit of each byte that is `byte` (and perhaps of bytes above one that is).
    @inline(__always)
    private static func matches(_ word: UInt64, _ byte: UInt64) -> UInt64 {
        let difference = word ^ (ones &* byte)
        return (difference &- ones) & ~difference
    }

    /// The top bit of each byte below 0x20 (and perhaps of bytes above one that is).
    @inline(__always)
    private static func controls(_ word: UInt64) -> UInt64 {
        (word &- ones &* 0x20) & ~word
    }

    @inline(__always)
    private static func isCleanJSON(_ word: UInt64) -> Bool {
        (controls(word) | matches(word, 0x22) | matches(word, 0x5C)) & tops == 0
    }

    /// `"` `&` `<` `>` and controls need care; 0xEF may begin U+FFFE or U+FFFF.
    @inline(__always)
    private static func isCleanXML(_ word: UInt64) -> Bool {
        let marks = matches(word, 0x22) | matches(word, 0x26) | matches(word, 0x3C) | matches(word, 0x3E)
        return (controls(word) | marks | matches(word, 0xEF)) & tops == 0
    }

    private mutating func putEscapedJSON(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): put("\\\"")
        case UInt8(ascii: "\\"): put("\\\\")
        case 8: put("\\b")
        case 9: put("\\t")
        case 10: put("\\n")
        case 12: put("\\f")
        case 13: put("\\r")
        case 0..<32:
            put("\\u00")
            put(byte < 16 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
            put(byte & 15 < 10 ? UInt8(ascii: "0") + (byte & 15) : UInt8(ascii: "a") + (byte & 15) - 10)
        default: put(byte)
        }
    }

    private mutating func putEscapedXML(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): put("&quot;")
        case UInt8(ascii: "&"): put("&amp;")
        case UInt8(ascii: "<"): put("&lt;")
        case UInt8(ascii: ">"): put("&gt;")
        case 9: put("&#9;")
        case 10: put("&#10;")
        case 13: put("&#13;")
        case 0..<32: put("\u{FFFD}")
        case 0xBE, 0xBF: put(endsNonCharacter ? 0xBD : byte)
        default: put(byte)
        }
    }

    /// Whether EF BF lies behind, so that BE or BF would complete U+FFFE or U+FFFF. A tag always precedes the text.
    private var endsNonCharacter: Bool {
        (position - 2).load(as: UInt8.self) == 0xEF && (position - 1).load(as: UInt8.self) == 0xBF
    }
}
