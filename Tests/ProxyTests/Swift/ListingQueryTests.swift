import Testing

@testable import Proxy

@Suite struct ListingQueryTests {
    private func parse(
        _ query: String, accept: String? = nil, _ kind: ListingQuery.Kind = .container
    ) throws(SwiftError) -> ListingQuery {
        try ListingQuery(
            try QueryParameters(parsing: Array(query.utf8)), accept: accept.map { Array($0.utf8) }, kind: kind,
            constraints: Constraints())
    }

    @Test func defaults() throws {
        let query = try parse("")
        #expect(query.limit == 10_000)
        #expect(query.marker == [] && query.endMarker == [] && query.prefix == [] && query.delimiter == [])
        #expect(query.path == nil && !query.isReversed && query.format == .text && query.variesWithAccept)
    }

    @Test func everything() throws {
        let query = try parse(
            "limit=5&marker=a%2Fb&end_marker=z+z&prefix=p%26&delimiter=%2F%2F&reverse=on&format=JSON&path=")
        #expect(query.limit == 5)
        #expect(query.marker == Array("a/b".utf8))
        #expect(query.endMarker == Array("z z".utf8))
        #expect(query.prefix == Array("p&".utf8))
        #expect(query.delimiter == Array("//".utf8))
        #expect(query.path == [])
        #expect(query.isReversed && query.format == .json && !query.variesWithAccept)
        #expect(try parse("path=x", .account).path == nil)
    }

    @Test(arguments: [
        ("prefix=p&delimiter=--", "p", "--"), ("path=a/b//&prefix=p", "a/b/", "/"), ("path=a", "a/", "/"),
        ("path=", "", "/"), ("path=/", "/", "/"), ("", "", ""),
    ])
    func oldStylePaths(_ query: String, _ prefix: String, _ delimiter: String) throws {
        #expect(try parse(query).effectivePrefix == Array(prefix.utf8))
        #expect(try parse(query).effectiveDelimiter == Array(delimiter.utf8))
    }

    @Test(arguments: [
        ("limit=0", 0), ("limit=10000", 10_000), ("limit=-1", 10_000), ("limit=abc", 10_000), ("limit=", 10_000),
        ("limit=1&limit=2", 2), ("limit", 10_000),
    ])
    func limits(_ query: String, _ limit: Int) throws {
        #expect(try parse(query).limit == limit)
    }

    @Test(arguments: ["limit=10001", "limit=99999999999999999999999999"])
    func tooHighLimits(_ query: String) {
        #expect(throws: SwiftError(412, "Maximum limit is 10000")) { try parse(query) }
    }

    @Test func refusesInvalidText() {
        #expect(throws: SwiftError(400, "\"marker\" parameter not valid UTF-8")) { try parse("marker=%ff") }
        #expect(throws: SwiftError(400, "\"format\" parameter not valid UTF-8")) { try parse("format=%ff") }
        #expect(throws: SwiftError(400, "Too many query parameters")) {
            try parse(String(repeating: "a=b&", count: 65))
        }
    }

    @Test(arguments: [
        ("format=xml", nil, ListingFormat.xml),
        ("format=plain", "application/json", .text),
        ("format=unknown", "application/json", .text),
        ("format=", "application/json", .json),
        ("", "*/*", .text),
        ("", "application/json", .json),
        ("", "application/xml", .xml),
        ("", "text/xml", .textXML),
        ("", "application/*", .json),
        ("", "text/html, application/json;q=0.5, application/xml;q=0.9", .xml),
        ("", "*/*;q=0.9,application/json;q=1.0", .json),
        ("", "*/*,application/json", .json),
        ("", "text/plain;q=0,*/*;q=0.1", .text),
        ("", "Application/JSON; charset=utf-8; q=.3", .json),
        ("", "", .text),
    ])
    func formats(_ query: String, _ accept: String?, _ format: ListingFormat) throws {
        #expect(try parse(query, accept: accept).format == format)
    }

    @Test(arguments: [
        ("text/html", 406), ("image/*", 406), ("application/json;q=0", 406), ("text", 400), ("a/b;q=x", 400),
        ("a/b;q=2", 400), ("a/b;q=1;q=1", 400), (",", 400), ("a/b/c", 400), ("text/plain,", 400),
    ])
    func refusesAccept(_ accept: String, _ status: Int) {
        let expected = status == 400 ? SwiftError(400, "Invalid Accept header") : SwiftError(status)
        #expect(throws: expected) { try parse("", accept: accept) }
    }
}
