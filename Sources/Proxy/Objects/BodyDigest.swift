import CCrypto
package import NIOCore

/// A running MD5 over a body: the object's ETag.
package final class BodyDigest: @unchecked Sendable {
    // Unchecked: one user at a time. An upload hands it to one worker after another, never to two at once.
    private let context: OpaquePointer

    package init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex2(context, Self.md5, nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    package func update(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { _ = EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
    }

    /// 16 bytes; the digest is of no more use after this.
    package func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 16) { bytes, count in
            var length: UInt32 = 16
            EVP_DigestFinal_ex(context, bytes.baseAddress, &length)
            count = Int(length)
        }
    }

    /// Fetched once: an implicit fetch for each digest costs more than a small digest.
    nonisolated(unsafe) private static let md5 = EVP_MD_fetch(nil, "MD5", nil)
}
