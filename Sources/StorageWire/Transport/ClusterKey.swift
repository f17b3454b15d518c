internal import CCrypto

/// The secret that all nodes of a cluster hold. It authenticates messages and never leaves the process: neither the wire nor a log gets to see it.
package struct ClusterKey: Sendable, CustomStringConvertible, CustomReflectable {
    private let bytes: [UInt8]

    /// Fewer bytes can be guessed.
    package static let minimumLength = 16

    /// - Returns: `nil` for a key of under `minimumLength` bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.minimumLength else { return nil }
        self.bytes = bytes
    }

    package var description: String { "ClusterKey(hidden)" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// HMAC-SHA256 (RFC 2104) of a message under the key.
    func code(for message: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 32
        let done = HMAC(EVP_sha256(), bytes, Int32(bytes.count), message, message.count, &code, &length)
        precondition(done != nil && length == 32, "libcrypto refused HMAC-SHA256")
        return code
    }

    /// Whether `code` is that of `message`, in a time that does not tell where they differ.
    func verifies(_ code: [UInt8], for message: [UInt8]) -> Bool {
        let expected = self.code(for: message)
        return code.count == expected.count && CRYPTO_memcmp(code, expected, code.count) == 0
    }
}

/// By what the nodes of one cluster know each other.
package struct WireCredentials: Sendable {
    package let clusterId: [UInt8]
    package let key: ClusterKey
    /// For links that are encrypted.
    let tls: TLSContext
    /// Gives so many bytes that nobody can foresee, for nonces.
    package var random: @Sendable (Int) -> [UInt8]

    /// The longest cluster id.
    static let maximumClusterId = 64

    /// - Parameter clusterId: 1 to 64 bytes.
    package init(clusterId: [UInt8], key: ClusterKey, random: @escaping @Sendable (Int) -> [UInt8]) {
        precondition((1...Self.maximumClusterId).contains(clusterId.count), "a cluster id has 1 to 64 bytes")
        self.clusterId = clusterId
        self.key = key
        tls = TLSContext(clusterId: clusterId, key: key)
        self.random = random
    }

    /// The random source of the operating system.
    @Sendable package static func systemRandom(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
