internal import CSSL

/// What all TLS connections of a cluster have in common: TLS 1.3 with a key that both ends know already (RFC 8446 2.2), and nothing else.
///
/// The key is derived from the cluster's, its identity is the id of the cluster; there are no certificates. Every connection also agrees on a
/// fresh secret (`psk_dhe_ke`, X25519), so that who records it and gets hold of the cluster's key later reads nothing.
///
/// Unchecked: libssl lets many threads make connections from one context.
final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    let identity: [UInt8]
    fileprivate let key: [UInt8]

    private static let cipherSuite = "TLS_AES_128_GCM_SHA256"
    /// The number of that in RFC 8446 B.4.
    fileprivate static let cipherSuiteNumber: [UInt8] = [0x13, 0x01]
    private static let label = Array("ringfort storage wire tls\0".utf8)

    init(clusterId: [UInt8], key: ClusterKey) {
        identity = clusterId
        self.key = key.code(for: Self.label + clusterId)
        guard let pointer = SSL_CTX_new(TLS_method()),
            ssl_context_restrict(pointer, Self.cipherSuite, "X25519") == 1
        else { preconditionFailure("libssl does not have TLS 1.3 with AES-GCM and X25519") }
        SSL_CTX_set_psk_use_session_callback(pointer) { ssl, _, identity, length, session in
            guard let engine = TLSEngine.of(ssl) else { return 0 }
            engine.context.identity.withUnsafeBufferPointer {
                identity?.pointee = $0.baseAddress
                length?.pointee = $0.count
            }
            session?.pointee = engine.context.session(for: ssl)
            return 1
        }
        SSL_CTX_set_psk_find_session_callback(pointer) { ssl, identity, length, session in
            session?.pointee = nil
            guard let engine = TLSEngine.of(ssl) else { return 0 }
            let shown = UnsafeBufferPointer(start: identity, count: length)
            // Not a secret. Without a session the handshake fails, for there is no certificate.
            guard shown.elementsEqual(engine.context.identity) else { return 1 }
            engine.isOfCluster = true
            session?.pointee = engine.context.session(for: ssl)
            return 1
        }
        self.pointer = pointer
    }

    deinit { SSL_CTX_free(pointer) }

    /// The form in which libssl takes the key; it frees it. `nil` without memory.
    private func session(for ssl: OpaquePointer?) -> OpaquePointer? {
        guard let session = SSL_SESSION_new() else { return nil }
        guard let cipher = SSL_CIPHER_find(ssl, Self.cipherSuiteNumber),
            SSL_SESSION_set1_master_key(session, key, key.count) == 1,
            SSL_SESSION_set_cipher(session, cipher) == 1,
            SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1
        else {
            SSL_SESSION_free(session)
            return nil
        }
        return session
    }
}
