internal import CCrypto

/// A cipher or the random source of libcrypto failed, or sealed bytes were altered.
package enum CryptographyError: Error, Equatable {
    case randomUnavailable
    case sealingFailed
    case openingFailed
}

/// Bytes that nobody can guess.
package enum RandomBytes {
    /// `count` bytes from libcrypto's generator.
    package static func make(_ count: Int) throws(CryptographyError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, Int32(count)) == 1 else { throw .randomUnavailable }
        return bytes
    }

    /// A random 64-bit number.
    package static func makeUInt64() throws(CryptographyError) -> UInt64 {
        try make(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A key for people to copy: 32 base64url characters (192 bits).
    package static func makeKeyText() throws(CryptographyError) -> [UInt8] {
        ByteText.base64URL(try make(24))
    }
}

/// HMAC-SHA256 (RFC 2104) with a fixed key.
struct MessageAuthenticator: Sendable {
    static let length = 32
    private let key: [UInt8]

    init(key: [UInt8]) {
        self.key = key
    }

    func code(_ message: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.length) { output, count in
            var length: UInt32 = 0
            let base = message.baseAddress?.assumingMemoryBound(to: UInt8.self)
            let done = HMAC(Self.sha256, key, Int32(key.count), base, message.count, output.baseAddress, &length)
            precondition(done != nil && length == UInt32(Self.length), "libcrypto refused HMAC-SHA256")
            count = Self.length
        }
    }

    func code(_ message: [UInt8]) -> [UInt8] {
        message.withUnsafeBytes { code($0) }
    }

    /// Fetched once: an implicit fetch costs more than the digest of a short message.
    nonisolated(unsafe) private static let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
}

/// Comparison whose time tells nothing about where two byte strings differ; their lengths are not secret.
func equalInConstantTime(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    guard left.count == right.count, let first = left.baseAddress, let second = right.baseAddress else {
        return left.count == right.count
    }
    return CRYPTO_memcmp(first, second, left.count) == 0
}

/// The secret that all nodes of a cluster share, from which keys for single purposes are derived.
package struct ClusterKey: Sendable {
    private let extracted: MessageAuthenticator

    /// - Parameter secret: any length; HKDF-Extract (RFC 5869) makes it uniform.
    package init(secret: [UInt8]) {
        let salt = MessageAuthenticator(key: Array("ringfort cluster key".utf8))
        extracted = MessageAuthenticator(key: salt.code(secret))
    }

    /// A 256-bit key for `purpose` (HKDF-Expand with one block). Different purposes give independent keys.
    package func derive(_ purpose: String) -> [UInt8] {
        extracted.code(Array(purpose.utf8) + [1])
    }
}

/// AES-256-GCM with a random nonce for each message: nonce (12 bytes), ciphertext, tag (16 bytes).
struct SealedBox: Sendable {
    private static let nonceLength = 12
    private static let tagLength = 16
    private let key: [UInt8]

    /// - Parameter key: 32 bytes.
    init(key: [UInt8]) {
        precondition(key.count == 32, "AES-256 needs a key of 32 bytes")
        self.key = key
    }

    func seal(_ message: [UInt8], context: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let nonce = try RandomBytes.make(Self.nonceLength)
        guard let cipher = EVP_CIPHER_CTX_new() else { throw .sealingFailed }
        defer { EVP_CIPHER_CTX_free(cipher) }
        var output = [UInt8](repeating: 0, count: message.count)
        var tag = [UInt8](repeating: 0, count: Self.tagLength)
        var length: Int32 = 0
        guard EVP_EncryptInit_ex2(cipher, EVP_aes_256_gcm(), key, nonce, nil) == 1,
            EVP_EncryptUpdate(cipher, nil, &length, context, Int32(context.count)) == 1,
            EVP_EncryptUpdate(cipher, &output, &length, message, Int32(message.count)) == 1,
            EVP_EncryptFinal_ex(cipher, &tag, &length) == 1,
            EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength), &tag) == 1
        else { throw .sealingFailed }
        return nonce + output + tag
    }

    func open(_ sealed: [UInt8], context: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let overhead = Self.nonceLength + Self.tagLength
        guard sealed.count >= overhead, let cipher = EVP_CIPHER_CTX_new() else { throw .openingFailed }
        defer { EVP_CIPHER_CTX_free(cipher) }
        let nonce = Array(sealed.prefix(Self.nonceLength))
        let message = Array(sealed.dropFirst(Self.nonceLength).dropLast(Self.tagLength))
        var tag = Array(sealed.suffix(Self.tagLength))
        var output = [UInt8](repeating: 0, count: message.count)
        var length: Int32 = 0
        var nothing = [UInt8](repeating: 0, count: 16)
        guard EVP_DecryptInit_ex2(cipher, EVP_aes_256_gcm(), key, nonce, nil) == 1,
            EVP_DecryptUpdate(cipher, nil, &length, context, Int32(context.count)) == 1,
            EVP_DecryptUpdate(cipher, &output, &length, message, Int32(message.count)) == 1,
            EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), &tag) == 1,
            EVP_DecryptFinal_ex(cipher, &nothing, &length) == 1
        else { throw .openingFailed }
        return output
    }
}
