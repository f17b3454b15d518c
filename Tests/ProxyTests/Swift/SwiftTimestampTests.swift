import Testing

@testable import Proxy

@Suite struct SwiftTimestampTests {
    @Test(
        arguments: [
            (140_246_467_704_188, "1402464677.04188", "2014-06-11T05:31:17.041880", "Wed, 11 Jun 2014 05:31:18 GMT"),
            (140_246_467_700_000, "1402464677.00000", "2014-06-11T05:31:17.000000", "Wed, 11 Jun 2014 05:31:17 GMT"),
            (0, "0000000000.00000", "1970-01-01T00:00:00.000000", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1, "0000000000.00001", "1970-01-01T00:00:00.000010", "Thu, 01 Jan 1970 00:00:01 GMT"),
            (95_178_239_900_001, "0951782399.00001", "2000-02-28T23:59:59.000010", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (410_244_479_999_999, "4102444799.99999", "2099-12-31T23:59:59.999990", "Fri, 01 Jan 2100 00:00:00 GMT"),
            (999_999_999_999_999, "9999999999.99999", "2286-11-20T17:46:39.999990", "Sat, 20 Nov 2286 17:46:40 GMT"),
        ] as [(UInt64, String, String, String)])
    func forms(_ ticks: UInt64, _ header: String, _ iso: String, _ lastModified: String) {
        #expect(SwiftTimestamp.header(ticks) == Array(header.utf8))
        #expect(SwiftTimestamp.iso(ticks) == Array(iso.utf8))
        #expect(SwiftTimestamp.lastModified(ticks) == Array(lastModified.utf8))
    }

    @Test func extremesDoNotTrap() {
        #expect(SwiftTimestamp.header(.max).count == 16)
        #expect(SwiftTimestamp.iso(.max).count == 26)
        #expect(SwiftTimestamp.lastModified(.max).count == 29)
    }
}

@Suite struct HTTPDateTests {
    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("sun, 6 nov 1994 08:49:37 UTC", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thursday, 29-Feb-68 00:00:00 GMT", 3_097_699_200),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Fri, 01 Jan 0100 00:00:00 GMT", -59_011_459_200),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ] as [(String, Int64)])
    func parses(_ text: String, _ seconds: Int64) {
        #expect(HTTPDate.parse(text.utf8) == seconds)
    }

    @Test(arguments: [
        "", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 EST", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT", "784111777", "Sun, 29 Feb 1900 00:00:00 GMT", "a b c d e", "a b-c d e",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    ])
    func refuses(_ text: String) {
        #expect(HTTPDate.parse(text.utf8) == nil)
    }

    /// Every day of four centuries, counted up, against the conversion in both directions.
    @Test func everyDay() {
        var (year, month, day) = (1970, 1, 1)
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        for index in 0..<146_097 {
            let date = CivilDate(epochSeconds: Int64(index) * 86_400 + 3661)
            guard date.year == year, date.month == month, date.day == day, date.hour == 1, date.minute == 1,
                date.second == 1, date.epochSeconds == Int64(index) * 86_400 + 3661
            else {
                Issue.record("day \(index): \(date)")
                return
            }
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            day += 1
            if day > lengths[month - 1] + (month == 2 && isLeap ? 1 : 0) { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
        #expect(year == 2370)
    }
}
