import Testing

@testable import Access

struct JoinTokenTests {
    private let key = ClusterKey(secret: Array("a secret of the cluster".utf8))
    private let claim = JoinToken.Claim(id: Array(1...16), role: 3, expiry: 1_000)

    @Test func aTokenComesBackFromItsText() throws {
        let token = JoinToken(claim, clusterKey: key)
        let read = try #require(JoinToken(text: token.text))
        #expect(read.claim == claim)
        #expect(read.text == token.text)
        #expect(token.verifies(read.proof(of: [1, 2]), of: [1, 2]))
        #expect(!token.verifies(read.proof(of: [1, 2]), of: [1, 3]))
    }

    /// Who holds a token can't make it last longer or be for something else.
    @Test func aClaimIsBoundToItsSecret() throws {
        let token = JoinToken(claim, clusterKey: key)
        var longer = claim
        longer.expiry += 1
        var other = claim
        other.role = 1
        for changed in [longer, other] {
            #expect(!JoinToken(changed, clusterKey: key).verifies(token.proof(of: [1]), of: [1]))
        }
        #expect(!JoinToken(claim, clusterKey: ClusterKey(secret: [1])).verifies(token.proof(of: [1]), of: [1]))
    }

    @Test func anAnswerIsForTheHolder() throws {
        let token = JoinToken(claim, clusterKey: key)
        let sealed = try token.seal([7, 8, 9], nonces: [1, 2])
        #expect(try JoinToken(claim, clusterKey: key).open(sealed, nonces: [1, 2]) == [7, 8, 9])
        #expect(throws: CryptographyError.openingFailed) { try token.open(sealed, nonces: [1, 3]) }
        let stranger = JoinToken(claim, clusterKey: ClusterKey(secret: [1]))
        #expect(throws: CryptographyError.openingFailed) { try stranger.open(sealed, nonces: [1, 2]) }
    }

    @Test func whatIsNoTokenIsRefused() {
        let text = JoinToken(claim, clusterKey: key).text
        #expect(JoinToken(text: []) == nil)
        #expect(JoinToken(text: text.dropLast()) == nil)
        #expect(JoinToken(text: Array("AgAA".utf8)) == nil)
        #expect(JoinToken(text: text + text) == nil)
    }
}
