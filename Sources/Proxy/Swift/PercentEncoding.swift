/// Percent encoding of RFC 3986 2.1.
enum PercentEncoding {
    /// Appends `text` decoded once. A `%` without two digits after it stands for itself, as in Python's `unquote`.
    /// - Parameter plusIsBlank: in query strings `+` is a blank.
    static func decode(_ text: some Collection<UInt8>, plusIsBlank: Bool = false, into output: inout [UInt8]) {
        text.withRawBytes { text in
            var index = 0
            while index < text.count {
                let byte = text[index]
                if byte == UInt8(ascii: "%"), index + 2 < text.count, let high = ASCII.hexValue(text[index + 1]),
                    let low = ASCII.hexValue(text[index + 2])
                {
                    output.append(high << 4 | low)
                    index += 3
                } else {
                    output.append(plusIsBlank && byte == UInt8(ascii: "+") ? 32 : byte)
                    index += 1
                }
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
}
