import Testing

@testable import Access

@Suite struct SignedTokenTests {
    private let signer = MessageAuthenticator(key: ClusterKey(secret: [7]).derive("v1 tokens"))
    private let token = SignedToken(
        account: Array("test".utf8), user: Array("tester".utf8), roles: [.admin, .service],
        groups: [Array("staff".utf8)], expiry: 1000, generation: .max)

    private func decode(_ text: [UInt8]) -> SignedToken? {
        text.withUnsafeBytes { SignedToken.decode($0, signer: signer) }
    }

    @Test func roundTrip() {
        let text = token.encode(signer: signer)
        #expect(text.starts(with: Array("AUTH_tk".utf8)))
        #expect(decode(text) == token)
        let identity = token.identity
        #expect(identity.user == Array("test:tester".utf8))
        #expect(identity.ownedAccounts == [Array("AUTH_test".utf8)])
        #expect(identity.groups.contains(Array("staff".utf8)))
        #expect(identity.isService && !identity.isResellerAdmin)
    }

    /// Made by version 1; a proxy of a later version must take it while it lasts.
    @Test func goldenToken() {
        let golden =
            "AUTH_tkAQUAAAAAAAAD6P__________AAR0ZXN0AAZ0ZXN0ZXIBAAVzdGFmZjw4TvSivLQoUf1k7CgOpYPPmnZtzh72yl4NXpdWYSz-"
        #expect(token.encode(signer: signer) == Array(golden.utf8))
        #expect(decode(Array(golden.utf8)) == token)
    }

    @Test func everyAlteredCharacterIsRefused() {
        let text = token.encode(signer: signer)
        for index in text.indices {
            var altered = text
            altered[index] = altered[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            if altered != text { #expect(decode(altered) == nil, "position \(index)") }
            #expect(decode(Array(text.prefix(index))) == nil)
        }
        #expect(decode(text + [UInt8(ascii: "A")]) == nil)
        #expect(decode([UInt8](repeating: 65, count: 100_000)) == nil)
    }

    @Test func anotherKeyIsRefused() {
        let text = token.encode(signer: MessageAuthenticator(key: ClusterKey(secret: [8]).derive("v1 tokens")))
        #expect(decode(text) == nil)
    }
}
