/// How the Swift API writes moments. A timestamp is a count of 10 µs ticks since the epoch.
package enum SwiftTimestamp {
    /// Ticks of a second.
    package static let ticksPerSecond: UInt64 = 100_000

    /// `X-Timestamp`: ten digits, a point, five digits, such as `1402464677.04188`.
    package static func header(_ ticks: UInt64) -> [UInt8] {
        var text = [UInt8](repeating: UInt8(ascii: "0"), count: 16)
        putDecimal(min(ticks / ticksPerSecond, 9_999_999_999), digits: 10, at: 0, in: &text)
        text[10] = UInt8(ascii: ".")
        putDecimal(ticks % ticksPerSecond, digits: 5, at: 11, in: &text)
        return text
    }

    /// `last_modified` of listings: `2014-06-11T05:31:17.041880`.
    package static func iso(_ ticks: UInt64) -> [UInt8] {
        var text = Array("0000-00-00T00:00:00.000000".utf8)
        let date = CivilDate(epochSeconds: seconds(ticks))
        putDecimal(UInt64(clamping: min(date.year, 9999)), digits: 4, at: 0, in: &text)
        putDecimal(UInt64(date.month), digits: 2, at: 5, in: &text)
        putDecimal(UInt64(date.day), digits: 2, at: 8, in: &text)
        putDecimal(UInt64(date.hour), digits: 2, at: 11, in: &text)
        putDecimal(UInt64(date.minute), digits: 2, at: 14, in: &text)
        putDecimal(UInt64(date.second), digits: 2, at: 17, in: &text)
        putDecimal(ticks % ticksPerSecond * 10, digits: 6, at: 20, in: &text)
        return text
    }

    /// `Last-Modified`: RFC 9110 5.6.7 (IMF-fixdate) of the second at or after the timestamp.
    package static func lastModified(_ ticks: UInt64) -> [UInt8] {
        HTTPDate.format(epochSeconds: UInt64(ceilingSeconds(ticks)))
    }

    /// The second that `Last-Modified` shows: rounded up, so that it is never before the write.
    package static func ceilingSeconds(_ ticks: UInt64) -> Int64 {
        seconds(ticks) + (ticks % ticksPerSecond == 0 ? 0 : 1)
    }

    private static func seconds(_ ticks: UInt64) -> Int64 {
        Int64(ticks / ticksPerSecond)
    }

    static func putDecimal(_ value: UInt64, digits: Int, at offset: Int, in text: inout [UInt8]) {
        var rest = value
        for index in stride(from: offset + digits - 1, through: offset, by: -1) {
            text[index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
    }
}
