import NIOCore

/// Which bytes may stand where (RFC 9110 5.6.2, 5.5).
enum CharacterClass {
    /// A bit for each byte under 64, and for each from 64 to 127, that may stand in a token: letters, digits and
    /// ``!#$%&'*+-.^_`|~``. Written out, because a lazily made constant costs a call per byte.
    private static var token: (UInt64, UInt64) { (0x03FF_6CFA_0000_0000, 0x57FF_FFFF_C7FF_FFFE) }

    /// Whether the byte may stand in a method or a header name.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        byte < 64 ? token.0 >> UInt64(byte) & 1 != 0 : byte < 128 && token.1 >> UInt64(byte - 64) & 1 != 0
    }

    /// Whether the byte may stand in `Host` or an authority: unreserved, percent, sub-delims, colon, brackets.
    static func isHost(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), 0x24...0x2E, 0x21, 0x3A, 0x3B, 0x3D, 0x5B, 0x5D, 0x5F, 0x7E:
            true
        default: false
        }
    }

    /// Whether a header value has no control character but the tab; eight bytes at a time.
    static func isFieldContent(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let below32 = (word &- 0x2020_2020_2020_2020) & ~word
            let delete = word ^ 0x7F7F_7F7F_7F7F_7F7F
            let isDelete = (delete &- 0x0101_0101_0101_0101) & ~delete
            if (below32 | isDelete) & 0x8080_8080_8080_8080 != 0, !hasOnlyContent(bytes[index..<index + 8]) {
                return false
            }
            index += 8
        }
        return hasOnlyContent(bytes[index...])
    }

    private static func hasOnlyContent(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        bytes.allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }
    }
}

/// Whether both are the same but for the case of ASCII letters.
func equalsIgnoringCase(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where lowercased(left[index]) != lowercased(right[index]) { return false }
    return true
}

@inline(__always)
private func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

extension ByteBuffer {
    @inline(__always)
    mutating func writeCRLF() {
        writeInteger(0x0D0A as UInt16)
    }

    /// Writes a number in decimal digits.
    mutating func writeDecimal(_ value: some FixedWidthInteger) {
        if value < 0 { writeInteger(UInt8(ascii: "-")) }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var rest = UInt64(clamping: value.magnitude)
            var index = 20
            repeat {
                index -= 1
                digits[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(digits)[index..<20]))
        }
    }

    /// Writes a number in hexadecimal digits, without leading zeros.
    mutating func writeHexadecimal(_ value: Int) {
        var shift = max(0, (Int.bitWidth - value.leadingZeroBitCount + 3) / 4 * 4 - 4)
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            writeInteger(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            shift -= 4
        }
    }
}
