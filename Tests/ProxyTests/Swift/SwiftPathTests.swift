import Testing

@testable import Proxy

@Suite struct SwiftPathTests {
    private func parse(_ target: String) throws(SwiftError) -> SwiftEndpoint {
        try SwiftPath.parse(Array(target.utf8), constraints: Constraints())
    }

    private static func object(_ name: String) -> SwiftEndpoint {
        .object(account: Array("a".utf8), container: Array("c".utf8), object: Array(name.utf8))
    }

    @Test(arguments: [
        ("/info", SwiftEndpoint.info),
        ("/info?swiftinfo_sig=x", .info),
        ("/healthcheck", .healthcheck),
        ("/auth/v1.0", .auth),
        ("/auth/v1", .auth),
        ("/v1.0", .auth),
        ("/v1/a", .account([97])),
        ("/v1.0/a", .account([97])),
        ("/v1/a/", .account([97])),
        ("/v1/a?format=json", .account([97])),
        ("/v1/a/c", .container(account: [97], container: [99])),
        ("/v1/a/c/", .container(account: [97], container: [99])),
        ("/v1/a/c/o", object("o")),
        ("http://host:8080/v1/a/c/o?x", object("o")),
        ("/v1/a/c/o/", object("o/")),
        ("/v1/a/c//o", object("/o")),
        ("/v1/a/c/x//y", object("x//y")),
        ("/v1/a/c/x/y/", object("x/y/")),
        ("/v1/a/c/./x/../y", object("./x/../y")),
        ("/v1/a/c/x%2Fy", object("x/y")),
        ("/v1/a/c/%2525", object("%25")),
        ("/v1/a/c/a+b%20c", object("a+b c")),
        ("/v1/a/c/%", object("%")),
        ("/v1/a/c/%4", object("%4")),
        ("/v1/a/c/%zz", object("%zz")),
        ("/v1/a/c/%C3%a9", object("é")),
        ("/v1/a/c/é", object("é")),
        ("/v1/a/c/o%3Fq", object("o?q")),
        ("/v1/a/c/o#x", object("o#x")),
    ])
    func endpoints(_ target: String, _ endpoint: SwiftEndpoint) throws {
        #expect(try parse(target) == endpoint)
    }

    @Test(arguments: [
        ("/", SwiftError(404)),
        ("", SwiftError(404)),
        ("*", SwiftError(404)),
        ("v1/a", SwiftError(404)),
        ("//a/c", SwiftError(404)),
        ("/v1", SwiftError(412, "Bad URL")),
        ("/v1/", SwiftError(412, "Bad URL")),
        ("/v1//c", SwiftError(412, "Bad URL")),
        ("/v1/a//o", SwiftError(412, "Bad URL")),
        ("/foo", SwiftError(412, "Bad URL")),
        ("/v2/a", SwiftError(400)),
        ("/v1.1/a/c/o", SwiftError(400)),
        ("/v1/a/c/%00", SwiftError(412, "Invalid UTF8 or contains NULL")),
        ("/v1/a/c/x%ff", SwiftError(412, "Invalid UTF8 or contains NULL")),
        ("/v1/a/c/%ed%a0%80", SwiftError(412, "Invalid UTF8 or contains NULL")),
        ("/v1/a/c/%c0%af", SwiftError(412, "Invalid UTF8 or contains NULL")),
    ])
    func refuses(_ target: String, _ error: SwiftError) {
        #expect(throws: error) { try parse(target) }
    }

    @Test(arguments: [("/v1/", "Account", 256), ("/v1/a/", "Container", 256), ("/v1/a/c/", "Object", 1024)])
    func limitsNames(_ start: String, _ kind: String, _ limit: Int) throws {
        _ = try parse(start + String(repeating: "x", count: limit))
        // Bytes of the decoded name count.
        _ = try parse(start + String(repeating: "%c3%a9", count: limit / 2))
        #expect(throws: SwiftError(400, "\(kind) name length of \(limit + 1) longer than \(limit)")) {
            try parse(start + String(repeating: "x", count: limit + 1))
        }
    }

    @Test func query() {
        func query(_ target: String) -> String {
            String(decoding: SwiftPath.query(of: Array(target.utf8)), as: UTF8.self)
        }
        #expect(query("/v1/a?b=c?d") == "b=c?d")
        #expect(query("/v1/a") == "")
    }
}
