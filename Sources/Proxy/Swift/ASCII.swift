/// Tests and conversions of ASCII text in bytes, without locale.
enum ASCII {
    static func isDigit(_ byte: UInt8) -> Bool {
        byte &- 48 < 10
    }

    static func lower(_ byte: UInt8) -> UInt8 {
        byte &- 65 < 26 ? byte | 32 : byte
    }

    static func upper(_ byte: UInt8) -> UInt8 {
        byte &- 97 < 26 ? byte & 0xDF : byte
    }

    static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 32) &- 97 < 26
    }

    static func isBlank(_ byte: UInt8) -> Bool {
        byte == 32 || byte &- 9 < 5
    }

    /// Whether no byte has its top bit set.
    static func isASCII(_ text: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        var bits: UInt64 = 0
        while index + 8 <= text.count {
            bits |= text.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < text.count {
            bits |= UInt64(text[index])
            index += 1
        }
        return bits & 0x8080_8080_8080_8080 == 0
    }

    static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte &- 48 }
        let letter = (byte | 32) &- 97
        return letter < 6 ? letter + 10 : nil
    }
}

extension Collection<UInt8> {
    /// Whether these bytes are `text`, both in any case of ASCII letters.
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        var expected = text.utf8Start
        for byte in self {
            if ASCII.lower(byte) != ASCII.lower(expected.pointee) { return false }
            expected += 1
        }
        return true
    }

    /// Whether these bytes begin with `text`, both in any case of ASCII letters.
    func hasPrefixIgnoringCase(_ text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount && prefix(text.utf8CodeUnitCount).equalsIgnoringCase(text)
    }

    /// Whether these bytes are exactly `text`.
    func equals(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && text.withUTF8Buffer { elementsEqual($0) }
    }

    /// The value of one or more decimal digits and nothing else. Saturates, so that a huge number exceeds every limit.
    var decimal: UInt64? {
        guard !isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in self {
            guard ASCII.isDigit(byte) else { return nil }
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(byte &- 48))
            value = overflow || carry ? .max : sum
        }
        return value
    }

    /// A decimal number with optional sign and surrounding blanks, as Python's `int()` reads it. Saturates.
    var signedDecimal: Int64? {
        var text = Array(self)[...].trimmed
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative || text.first == UInt8(ascii: "+") { text = text.dropFirst() }
        guard let magnitude = text.decimal else { return nil }
        let value = Int64(clamping: magnitude)
        return isNegative ? -value : value
    }

    /// Whether OpenStack Swift takes this value for true (`config_true_value`).
    var isTrueValue: Bool {
        equalsIgnoringCase("true") || equals("1") || equalsIgnoringCase("yes") || equalsIgnoringCase("on")
            || equalsIgnoringCase("t") || equalsIgnoringCase("y")
    }

    /// Whether the bytes are well-formed UTF-8.
    var isUTF8: Bool {
        if withRawBytes({ ASCII.isASCII($0) }) { return true }
        return String(validating: self, as: UTF8.self) != nil
    }
}

extension BidirectionalCollection<UInt8> {
    /// Without blanks at both ends.
    var trimmed: SubSequence {
        guard let first = firstIndex(where: { !ASCII.isBlank($0) }),
            let last = lastIndex(where: { !ASCII.isBlank($0) })
        else { return self[endIndex...] }
        return self[first...last]
    }
}

extension RangeReplaceableCollection<UInt8> {
    mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { append(contentsOf: $0) }
    }

    /// Appends the decimal digits of `value`.
    mutating func append(decimal value: some BinaryInteger) {
        append(contentsOf: String(value).utf8)
    }
}
