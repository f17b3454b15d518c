import Testing

@testable import Access

/// Whatever comes from outside gives a value or an error, never a trap. A failure prints its seed.
@Suite struct HostileInputTests {
    private static let words = [
        ".r:", ".rlistings", "*", "-", ",", ":", "%", "%2", "{", "}", "[", "]", "\"", "\\u", "d800", "\"admin\"",
        "AUTH_tk", "http://", "//", "@", " ", "\n", "ringfort-users 1\n", "ringfort-users 2\n",
        "a:b .admin 0000000000000000 1 1 ",
        "a:b removed 0000000000000000 1 1 ",
    ].map { Array($0.utf8) }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func nothingTraps(_ seed: UInt64) {
        var generator = SeededGenerator(state: seed)
        let clusterKey = ClusterKey(secret: [1])
        let signer = MessageAuthenticator(key: [1])
        for _ in 0..<3000 {
            var text = [UInt8]()
            for _ in 0..<Int.random(in: 0..<12, using: &generator) {
                if Int.random(in: 0..<3, using: &generator) > 0 {
                    text += Self.words.randomElement(using: &generator) ?? []
                } else {
                    text.append(UInt8.random(in: 0...255, using: &generator))
                }
            }
            if let acl = try? ContainerACL(parsing: text, for: .read) {
                // The canonical form is its own canonical form.
                #expect((try? ContainerACL(parsing: acl.text, for: .read)) == acl, "seed \(seed)")
                _ = acl.allows(nil, referrer: text, listing: false)
            }
            if let acl = try? AccountACL(parsing: text) {
                #expect((try? AccountACL(parsing: acl.text))?.text == acl.text, "seed \(seed)")
            }
            _ = JSONValue(parsing: text)
            _ = try? UserFile(parsing: text, clusterKey: clusterKey)
            var users = UserFile(clusterKey: clusterKey)
            _ = try? users.merge(text)
            #expect(users.isEmpty, "seed \(seed)")
            #expect(text.withUnsafeBytes { SignedToken.decode($0, signer: signer) } == nil, "seed \(seed)")
            _ = ByteText.bytes(base64URL: text)
            _ = ByteText.bytes(hex: text)
        }
    }
}
