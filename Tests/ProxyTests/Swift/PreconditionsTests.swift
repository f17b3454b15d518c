import Testing

@testable import Proxy

@Suite struct PreconditionsTests {
    private let etag = Array("abc".utf8)
    /// Shown as Sun, 06 Nov 1994 08:49:37 GMT.
    private let timestamp: UInt64 = 78_411_177_650_000

    private static let same = "Sun, 06 Nov 1994 08:49:37 GMT"
    private static let before = "Sun, 06 Nov 1994 08:49:36 GMT"
    private static let after = "Sun, 06 Nov 1994 08:49:38 GMT"

    @Test(
        arguments: [
            ([], .proceed),
            ([("If-None-Match", "abc")], .notModified),
            ([("If-None-Match", "\"abc\"")], .notModified),
            ([("If-None-Match", "x, \"abc\"")], .notModified),
            ([("If-None-Match", "*")], .notModified),
            ([("If-None-Match", "x")], .proceed),
            ([("If-Match", "abc")], .proceed),
            ([("If-Match", "*")], .proceed),
            ([("If-Match", "x,y")], .failed),
            ([("If-Match", "")], .proceed),
            ([("If-Modified-Since", same)], .notModified),
            ([("If-Modified-Since", after)], .notModified),
            ([("If-Modified-Since", before)], .proceed),
            ([("If-Modified-Since", "nonsense")], .proceed),
            ([("If-Unmodified-Since", same)], .proceed),
            ([("If-Unmodified-Since", before)], .failed),
            ([("If-Unmodified-Since", "nonsense")], .proceed),
            // In order: If-None-Match, If-Match, If-Modified-Since, If-Unmodified-Since.
            ([("If-Match", "x"), ("If-None-Match", "abc")], .notModified),
            ([("If-Modified-Since", same), ("If-Match", "x")], .failed),
            ([("If-Modified-Since", same), ("If-None-Match", "x")], .notModified),
            ([("If-Unmodified-Since", before), ("If-Modified-Since", same)], .notModified),
        ] as [([(String, String)], Preconditions.Outcome)])
    func outcomes(_ headers: [(String, String)], _ outcome: Preconditions.Outcome) {
        let conditions = Preconditions(headers.map { MetadataItem($0.0, $0.1) })
        #expect(conditions.evaluate(etag: etag, timestamp: timestamp) == outcome)
        #expect(conditions.evaluate(etag: Array("\"abc\"".utf8), timestamp: timestamp) == outcome)
    }

    @Test func missingObjects() {
        #expect(Preconditions([MetadataItem("If-Match", "*")]).missingStatus == 412)
        #expect(Preconditions([MetadataItem("If-Match", "abc")]).missingStatus == 404)
        #expect(Preconditions([MetadataItem("If-None-Match", "*")]).missingStatus == 404)
        #expect(Preconditions([]).missingStatus == 404)
    }

    @Test func puts() throws {
        #expect(try !Preconditions([]).requiresAbsence())
        #expect(try Preconditions([MetadataItem("if-none-match", "*")]).requiresAbsence())
        #expect(throws: SwiftError(400, "If-None-Match only supports *")) {
            try Preconditions([MetadataItem("If-None-Match", "abc")]).requiresAbsence()
        }
    }
}
