/// Lets one node into the cluster, once, until it expires. Nothing is stored until it is used: its secret follows from the key of the
/// cluster.
///
/// Text: base64url of format (1 byte, 1), id (16 bytes), role (1 byte), expiry (8 bytes, seconds since 1970), secret (32 bytes).
package struct JoinToken: Sendable {
    /// What the holder of a token may tell others: it opens nothing.
    package struct Claim: Equatable, Sendable {
        /// 16 random bytes.
        package var id: [UInt8]
        /// What the node is to be; the meaning is the caller's.
        package var role: UInt8
        /// Seconds since 1970; the token is good before this second.
        package var expiry: UInt64

        package init(id: [UInt8], role: UInt8, expiry: UInt64) {
            self.id = id
            self.role = role
            self.expiry = expiry
        }

        fileprivate var bytes: [UInt8] {
            var bytes = id + [role]
            bytes.append(bigEndian: expiry)
            return bytes
        }
    }

    package let claim: Claim
    private let secret: MessageAuthenticator
    private let secretBytes: [UInt8]

    private static let format: UInt8 = 1
    private static let idLength = 16
    private static let length = 1 + idLength + 1 + 8 + MessageAuthenticator.length
    /// Bytes of the nonce of each side.
    package static let nonceLength = 32

    /// The token of a claim, as the cluster itself can make it.
    package init(_ claim: Claim, clusterKey: ClusterKey) {
        precondition(claim.id.count == Self.idLength, "the id of a token has 16 bytes")
        let signer = MessageAuthenticator(key: clusterKey.derive("join"))
        self.init(claim, secret: signer.code(Array("join".utf8) + claim.bytes))
    }

    private init(_ claim: Claim, secret: [UInt8]) {
        self.claim = claim
        secretBytes = secret
        self.secret = MessageAuthenticator(key: secret)
    }

    /// - Returns: `nil` for what is no token of this version.
    package init?(text: some Collection<UInt8>) {
        guard let bytes = ByteText.bytes(base64URL: text), bytes.count == Self.length, bytes[0] == Self.format else {
            return nil
        }
        let rest = bytes.dropFirst(2 + Self.idLength)
        self.init(
            Claim(
                id: Array(bytes[1...Self.idLength]), role: bytes[1 + Self.idLength],
                expiry: rest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }),
            secret: Array(rest.dropFirst(8)))
    }

    /// What is given to who sets the node up. It is a secret.
    package var text: [UInt8] {
        ByteText.base64URL([Self.format] + claim.bytes + secretBytes)
    }

    /// Shows that the asking node holds the token.
    package func proof(of request: [UInt8]) -> [UInt8] {
        secret.code(Array("ringfort join proof".utf8) + request)
    }

    /// Whether `proof` is that of `request`.
    package func verifies(_ proof: [UInt8], of request: [UInt8]) -> Bool {
        let expected = self.proof(of: request)
        return expected.withUnsafeBytes { left in proof.withUnsafeBytes { equalInConstantTime(left, $0) } }
    }

    /// Encrypts the answer to a request for the holder of the token alone.
    ///
    /// - Parameter nonces: those of both sides: each answer has a key of its own.
    package func seal(_ answer: [UInt8], nonces: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try box(nonces).seal(answer, context: nonces)
    }

    /// Opens what `seal` made; `openingFailed` when it was altered or made with another token.
    package func open(_ sealed: [UInt8], nonces: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try box(nonces).open(sealed, context: nonces)
    }

    private func box(_ nonces: [UInt8]) -> SealedBox {
        SealedBox(key: secret.code(Array("ringfort join answer".utf8) + nonces))
    }
}
