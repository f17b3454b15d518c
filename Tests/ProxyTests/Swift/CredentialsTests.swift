import Testing

@testable import Proxy

@Suite struct CredentialsTests {
    private func credentials(_ fields: [(String, String)]) throws(SwiftError) -> Credentials {
        try Credentials(fields.map { MetadataItem($0.0, $0.1) })
    }

    @Test func bothSpellings() throws {
        for (user, key) in [("X-Auth-User", "X-Auth-Key"), ("x-storage-user", "x-storage-pass")] {
            let credentials = try credentials([(user, "test:tester"), (key, "testing")])
            #expect(credentials.qualifiedName == Array("test:tester".utf8))
            #expect(credentials.key == Array("testing".utf8))
        }
    }

    @Test(
        arguments: [
            [], [("X-Auth-User", "a:b")], [("X-Auth-Key", "k")], [("X-Auth-User", "ab"), ("X-Auth-Key", "k")],
            [("X-Auth-User", "a:b"), ("X-Auth-Key", "")],
        ] as [[(String, String)]])
    func refuses(_ fields: [(String, String)]) {
        #expect(throws: SwiftError(401)) { try credentials(fields) }
    }

    @Test func challenges() {
        #expect(Credentials.challenge(account: nil) == Array("Swift realm=\"unknown\"".utf8))
        #expect(Credentials.challenge(account: Array("AUTH_\"x".utf8)) == Array("Swift realm=\"AUTH_%22x\"".utf8))
    }
}
