/// Content negotiation for listings and bulk answers (RFC 9110 12.5.1).
enum AcceptHeader {
    /// More media ranges than this are refused as malformed.
    private static let maximumRanges = 64

    private struct MediaRange {
        var type: ArraySlice<UInt8>
        var subtype: ArraySlice<UInt8>
        /// Thousandths.
        var quality: Int

        var isSpecific: Bool { !type.equals("*") && !subtype.equals("*") }

        func matches(_ option: (type: StaticString, subtype: StaticString)) -> Bool {
            (type.equals("*") || type.equalsIgnoringCase(option.type))
                && (subtype.equals("*") || subtype.equalsIgnoringCase(option.subtype))
        }
    }

    /// Listing formats, the preferred first.
    private static let options: [(ListingFormat, (type: StaticString, subtype: StaticString))] = [
        (.text, ("text", "plain")), (.json, ("application", "json")), (.xml, ("application", "xml")),
        (.textXML, ("text", "xml")),
    ]

    /// The best of the listing formats; plain text without a header. 400 when malformed, 406 when none will do.
    static func bestFormat(_ header: [UInt8]) throws(SwiftError) -> ListingFormat {
        guard !header.trimmed.isEmpty else { return .text }
        var ranges = [MediaRange]()
        for item in header.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            guard ranges.count < maximumRanges, let range = mediaRange(item) else {
                throw SwiftError(400, "Invalid Accept header")
            }
            ranges.append(range)
        }
        let wanted = ranges.enumerated().filter { $0.element.quality > 0 }.sorted { left, right in
            if left.element.quality != right.element.quality { return left.element.quality > right.element.quality }
            if left.element.isSpecific != right.element.isSpecific { return left.element.isSpecific }
            return left.offset < right.offset
        }
        for range in wanted {
            for (format, option) in options where range.element.matches(option) { return format }
        }
        throw SwiftError(406)
    }

    private static func mediaRange(_ item: ArraySlice<UInt8>) -> MediaRange? {
        let parts = item.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
        let names = parts[0].trimmed.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard names.count == 2, names.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isTokenByte) }) else { return nil }
        var range = MediaRange(type: names[0], subtype: names[1], quality: 1000)
        var hasQuality = false
        for part in parts.dropFirst() where !part.trimmed.isEmpty {
            let pair = part.trimmed.split(separator: UInt8(ascii: "="), omittingEmptySubsequences: false)
            guard pair.count == 2, !pair[1].trimmed.isEmpty else { return nil }
            guard pair[0].trimmed.equalsIgnoringCase("q") else { continue }
            guard !hasQuality, let quality = quality(pair[1].trimmed) else { return nil }
            hasQuality = true
            range.quality = quality
        }
        return range
    }

    /// A weight such as `0.5` in thousandths; more digits are cut off.
    private static func quality(_ text: ArraySlice<UInt8>) -> Int? {
        let parts = text.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts[0].isEmpty ? 0 : parts[0].decimal, whole <= 1 else { return nil }
        guard parts.count == 2 else { return parts[0].isEmpty ? nil : Int(whole) * 1000 }
        guard parts[1].allSatisfy(ASCII.isDigit), !(parts[0].isEmpty && parts[1].isEmpty) else { return nil }
        let digits = Array((parts[1] + Array("000".utf8)).prefix(3))
        return min(1000, Int(whole) * 1000 + Int(digits.decimal ?? 0))
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        byte > 32 && byte != 127 && !"()<>@,;:\\\"/[]?={}".utf8.contains(byte)
    }
}
