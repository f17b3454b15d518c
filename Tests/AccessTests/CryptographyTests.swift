import Testing

@testable import Access

@Suite struct CryptographyTests {
    @Test func hmacOfRFC4231() {
        // RFC 4231, test case 2.
        let code = MessageAuthenticator(key: Array("Jefe".utf8)).code(Array("what do ya want for nothing?".utf8))
        #expect(
            ByteText.hex(code) == Array("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843".utf8))
    }

    @Test func derivedKeysDiffer() {
        let key = ClusterKey(secret: Array("secret".utf8))
        #expect(key.derive("a") == ClusterKey(secret: Array("secret".utf8)).derive("a"))
        #expect(key.derive("a") != key.derive("b"))
        #expect(key.derive("a") != ClusterKey(secret: Array("secret2".utf8)).derive("a"))
        #expect(key.derive("a").count == 32)
    }

    @Test func sealedBoxes() throws {
        let box = SealedBox(key: ClusterKey(secret: [1]).derive("x"))
        let sealed = try box.seal([1, 2, 3], context: [9])
        #expect(try box.open(sealed, context: [9]) == [1, 2, 3])
        #expect(try box.seal([1, 2, 3], context: [9]) != sealed)
        #expect(throws: CryptographyError.openingFailed) { try box.open(sealed, context: [8]) }
        #expect(throws: CryptographyError.openingFailed) { try box.open(Array(sealed.dropLast()), context: [9]) }
        #expect(throws: CryptographyError.openingFailed) { try box.open([], context: [9]) }
        for index in sealed.indices {
            var altered = sealed
            altered[index] ^= 1
            #expect(throws: CryptographyError.openingFailed) { try box.open(altered, context: [9]) }
        }
    }

    @Test func comparison() {
        func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
            left.withUnsafeBytes { first in right.withUnsafeBytes { equalInConstantTime(first, $0) } }
        }
        #expect(equal([], []))
        #expect(equal([1, 2], [1, 2]))
        #expect(!equal([1, 2], [1, 3]))
        #expect(!equal([1], [1, 2]))
        #expect(!equal([], [1]))
    }
}
