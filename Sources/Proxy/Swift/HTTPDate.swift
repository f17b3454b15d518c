/// Dates of HTTP headers (RFC 9110 5.6.7).
package enum HTTPDate {
    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].map { Array($0.utf8) }
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .map { Array($0.utf8) }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    package static func format(epochSeconds: UInt64) -> [UInt8] {
        let seconds = Int64(clamping: min(epochSeconds, 253_402_300_799))  // The end of year 9999.
        let date = CivilDate(epochSeconds: seconds)
        var text = Array("Sun, 00 Jan 0000 00:00:00 GMT".utf8)
        text.replaceSubrange(0..<3, with: weekdays[CivilDate.weekday(epochSeconds: seconds)])
        text.replaceSubrange(8..<11, with: months[date.month - 1])
        SwiftTimestamp.putDecimal(UInt64(date.day), digits: 2, at: 5, in: &text)
        SwiftTimestamp.putDecimal(UInt64(date.year), digits: 4, at: 12, in: &text)
        SwiftTimestamp.putDecimal(UInt64(date.hour), digits: 2, at: 17, in: &text)
        SwiftTimestamp.putDecimal(UInt64(date.minute), digits: 2, at: 20, in: &text)
        SwiftTimestamp.putDecimal(UInt64(date.second), digits: 2, at: 23, in: &text)
        return text
    }

    /// Seconds since the epoch of an IMF-fixdate, an RFC 850 date or an asctime date; nil for anything else.
    package static func parse(_ text: some Collection<UInt8>) -> Int64? {
        guard text.count <= 64 else { return nil }
        let words = Array(text).split { $0 == 32 || $0 == UInt8(ascii: ",") }
        switch words.count {
        case 5 where words[1].contains(UInt8(ascii: "-")), 4 where words[1].contains(UInt8(ascii: "-")):
            return rfc850(words)
        case 5:
            return asctime(words)
        case 6:
            return fixdate(words)
        default:
            return nil
        }
    }

    private static func fixdate(_ words: [ArraySlice<UInt8>]) -> Int64? {
        guard isZeroZone(words[5]), words[3].count == 4 else { return nil }
        return seconds(day: words[1], month: words[2], year: words[3].decimal, time: words[4])
    }

    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    private static func rfc850(_ words: [ArraySlice<UInt8>]) -> Int64? {
        let date = words[1].split(separator: UInt8(ascii: "-"))
        guard words.count == 4, isZeroZone(words[3]), date.count == 3 else { return nil }
        return seconds(day: date[0], month: date[1], year: date[2].decimal, time: words[2])
    }

    /// `Sun Nov  6 08:49:37 1994`
    private static func asctime(_ words: [ArraySlice<UInt8>]) -> Int64? {
        seconds(day: words[2], month: words[1], year: words[4].decimal, time: words[3])
    }

    private static func seconds(
        day: ArraySlice<UInt8>, month: ArraySlice<UInt8>, year: UInt64?, time: ArraySlice<UInt8>
    ) -> Int64? {
        let clock = time.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map(\.decimal)
        guard let day = day.decimal, var year, clock.count == 3, let hour = clock[0], let minute = clock[1],
            let second = clock[2]
        else { return nil }
        // Same rule as Python's email.utils: of two-digit years 69 to 99 belong to the last century.
        if year < 100 { year += year < 69 ? 2000 : 1900 }
        guard
            let index = months.firstIndex(where: { name in
                name.count == month.count && zip(name, month).allSatisfy { ASCII.lower($0) == ASCII.lower($1) }
            }),
            let date = CivilDate(
                year: Int(clamping: year), month: index + 1, day: Int(clamping: day), hour: Int(clamping: hour),
                minute: Int(clamping: minute), second: Int(clamping: second))
        else { return nil }
        return date.epochSeconds
    }

    private static func isZeroZone(_ word: ArraySlice<UInt8>) -> Bool {
        word.equalsIgnoringCase("GMT") || word.equalsIgnoringCase("UTC") || word.equals("+0000")
            || word.equals("-0000")
    }
}
