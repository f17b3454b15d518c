/// Percent encoding of RFC 3986 2.1.
enum PercentEncoding {
    /// Appends `text` decoded once. A `%` without two digits after it stands for itself, as in Python's `unquote`.
    /// - Parameter plusIsBlank: in query strings `+` is a blank.
    static func decode(_ text: some Collection<UInt8>, plusIsBlank: Bool = false, into output: inout [UInt8]) {
        var index = text.startIndex
        while index != text.endIndex {
            let byte = text[index]
            text.formIndex(after: &index)
            if byte == UInt8(ascii: "%"), let decoded = pair(text, at: index) {
                output.append(decoded)
                text.formIndex(&index, offsetBy: 2)
            } else {
                output.append(plusIsBlank && byte == UInt8(ascii: "+") ? 32 : byte)
            }
        }
    }

    static func decoded(_ text: some Collection<UInt8>) -> [UInt8] {
        var output = [UInt8]()
        output.reserveCapacity(text.count)
        decode(text, into: &output)
        return output
    }

    /// Everything but unreserved characters and `/` encoded, as Python's `quote`.
    static func encoded(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var output = [UInt8]()
        output.reserveCapacity(bytes.count)
        for byte in bytes {
            if isUnreserved(byte) || byte == UInt8(ascii: "/") {
                output.append(byte)
            } else {
                output.append(UInt8(ascii: "%"))
                output.append(digits[Int(byte >> 4)])
                output.append(digits[Int(byte & 15)])
            }
        }
        return output
    }

    private static let digits = Array("0123456789ABCDEF".utf8)

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || ASCII.isLetter(byte) || [45, 46, 95, 126].contains(byte)
    }

    private static func pair<Text: Collection<UInt8>>(_ text: Text, at index: Text.Index) -> UInt8? {
        guard index != text.endIndex, let high = ASCII.hexValue(text[index]) else { return nil }
        let next = text.index(after: index)
        guard next != text.endIndex, let low = ASCII.hexValue(text[next]) else { return nil }
        return high << 4 | low
    }
}
