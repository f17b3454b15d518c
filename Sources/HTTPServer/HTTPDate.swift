package import NIOCore

extension ByteBuffer {
    /// Writes a time in the form of RFC 9110 5.6.7, such as `Sun, 06 Nov 1994 08:49:37 GMT`, which is always 29 bytes.
    /// Times outside the years 0 to 9999 are moved to the nearest end.
    package mutating func writeHTTPDate(_ secondsSince1970: Int) {
        let seconds = min(max(secondsSince1970, -62_167_219_200), 253_402_300_799)
        let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        let second = seconds - days * 86_400
        let (year, month, day) = Self.civilDate(days)
        writeName("ThuFriSatSunMonTueWed", ((days % 7) + 7) % 7)
        writeStaticString(", ")
        writeTwoDigits(day)
        writeStaticString(" ")
        writeName("JanFebMarAprMayJunJulAugSepOctNovDec", month - 1)
        writeStaticString(" ")
        writeTwoDigits(year / 100)
        writeTwoDigits(year % 100)
        writeStaticString(" ")
        writeTwoDigits(second / 3600)
        writeStaticString(":")
        writeTwoDigits(second / 60 % 60)
        writeStaticString(":")
        writeTwoDigits(second % 60)
        writeStaticString(" GMT")
    }

    /// Year, month and day of a count of days since 1970 (Gregorian). Counts years from March, so that the leap day is
    /// the last of its year, in eras of 400 years.
    private static func civilDate(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }

    private mutating func writeName(_ names: StaticString, _ index: Int) {
        writeBytes(UnsafeRawBufferPointer(start: names.utf8Start + index * 3, count: 3))
    }

    private mutating func writeTwoDigits(_ value: Int) {
        writeInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / 10))
        writeInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10))
    }
}
