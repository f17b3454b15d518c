import Testing

@testable import Proxy

@Suite struct CopyLocationTests {
    private func destination(_ fields: [(String, String)]) throws(SwiftError) -> CopyLocation {
        try CopyLocation.destination(
            fields.map { MetadataItem($0.0, $0.1) }, account: [97], constraints: Constraints())
    }

    private func source(_ fields: [(String, String)]) throws(SwiftError) -> CopyLocation? {
        try CopyLocation.source(fields.map { MetadataItem($0.0, $0.1) }, account: [97], constraints: Constraints())
    }

    @Test(arguments: [
        ("c/o", "c", "o"), ("/c/o", "c", "o"), ("c/x/y//z/", "c", "x/y//z/"), ("c%20d/o%2Fp", "c d", "o/p"),
        ("/c/%25", "c", "%"),
    ])
    func destinations(_ value: String, _ container: String, _ object: String) throws {
        #expect(
            try destination([("Destination", value)])
                == CopyLocation(account: [97], container: Array(container.utf8), object: Array(object.utf8)))
    }

    @Test func accounts() throws {
        #expect(
            try destination([("Destination", "c/o"), ("Destination-Account", "AUTH_%62")]).account
                == Array("AUTH_b".utf8))
        #expect(throws: SwiftError(412, "Account name cannot contain slashes")) {
            try destination([("Destination", "c/o"), ("Destination-Account", "a/b")])
        }
        #expect(throws: SwiftError(412, "Account name cannot be empty")) {
            try destination([("Destination", "c/o"), ("Destination-Account", "")])
        }
    }

    @Test(arguments: ["c", "c/", "/c", "//o", "/"])
    func refuses(_ value: String) {
        #expect(throws: SwiftError(412, "Destination header must be of the form <container name>/<object name>")) {
            try destination([("Destination", value)])
        }
    }

    @Test func sources() throws {
        #expect(try source([]) == nil)
        #expect(try source([("X-Copy-From", "c/o"), ("Content-Length", "0")])?.object == [111])
        #expect(throws: SwiftError(400, "Copy requests require a zero byte body")) {
            try source([("X-Copy-From", "c/o"), ("Content-Length", "1")])
        }
        #expect(throws: SwiftError(412, "Destination header required")) { try destination([]) }
        #expect(throws: SwiftError(412, "Invalid UTF8 or contains NULL")) { try source([("X-Copy-From", "c/%00")]) }
    }
}
