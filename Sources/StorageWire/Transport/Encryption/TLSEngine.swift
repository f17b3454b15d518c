internal import CSSL
import NIOCore

/// One end of a TLS connection, without I/O: bytes of the network in and out on one side, what they say on the other. After an error it is of
/// no more use, but what it has for the peer should still be sent.
final class TLSEngine {
    let context: TLSContext
    private let role: Handshake.Role
    private let ssl: OpaquePointer
    /// From the network and to it. `ssl` owns both.
    private let input: OpaquePointer
    private let output: OpaquePointer
    private let recordsPerKey: Int
    private var recordsSent = 0
    /// The peer has named this cluster; whether it has the key is another question.
    var isOfCluster = false
    private(set) var isEstablished = false
    /// The peer has said that nothing more comes.
    private(set) var isEnded = false

    /// AES-GCM is safe for 2^24.5 records under one key (RFC 8446 5.5).
    static let recordsPerKey = 1 << 23
    /// Plaintext of the largest record.
    private static let recordSize = 1 << 14
    /// Plaintext that is encrypted at once, so that what libssl keeps for that stays small.
    private static let pieceSize = 4 * recordSize
    /// What a record is larger than its plaintext, with room.
    private static let recordOverhead = 32

    /// - Parameter recordsPerKey: records that are sent before the key is changed.
    init(_ context: TLSContext, role: Handshake.Role, recordsPerKey: Int = TLSEngine.recordsPerKey) {
        guard let ssl = SSL_new(context.pointer), let input = ssl_memory_bio(), let output = ssl_memory_bio() else {
            preconditionFailure("no memory for a TLS connection")
        }
        self.context = context
        self.role = role
        self.ssl = ssl
        self.input = input
        self.output = output
        self.recordsPerKey = recordsPerKey
        SSL_set_bio(ssl, input, output)
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
        switch role {
        case .client:
            // Nobody is trusted for a certificate, so a server that shows one instead of the key is refused.
            SSL_set_verify(ssl, SSL_VERIFY_PEER, nil)
            SSL_set_connect_state(ssl)
        case .server: SSL_set_accept_state(ssl)
        }
    }

    deinit { SSL_free(ssl) }

    /// The engine that a callback of libssl is for.
    static func of(_ ssl: OpaquePointer?) -> TLSEngine? {
        guard let data = SSL_get_ex_data(ssl, 0) else { return nil }
        return Unmanaged<TLSEngine>.fromOpaque(data).takeUnretainedValue()
    }

    // MARK: Handshake

    /// Goes as far as it can with what has come; at the client's end also begins.
    ///
    /// - Returns: whether both ends have shown that they hold the key.
    func shakeHands() throws(WireError) -> Bool {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        guard result == 1 else {
            guard SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ else { throw handshakeError() }
            return false
        }
        // libssl takes a key that was known before for a session that goes on.
        guard SSL_session_reused(ssl) == 1 else { throw .refused("peer did not use the cluster's key") }
        isEstablished = true
        return true
    }

    private func handshakeError() -> WireError {
        let code = ERR_peek_last_error()
        let reason = Int32(truncatingIfNeeded: code & UInt(ERR_REASON_MASK))
        switch role {
        case .server where reason == SSL_R_BINDER_DOES_NOT_VERIFY:
            return .refused("peer does not hold the cluster's key (TLS)")
        case .server where !isOfCluster && reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
            return .refused("peer shows no key of this cluster (TLS)")
        case .client where reason > SSL_AD_REASON_OFFSET:
            return .refused("the other node does not accept the cluster's key of this one (TLS: \(Self.text(code)))")
        case .client, .server: return .malformed("no TLS with the peer: \(Self.text(code))")
        }
    }

    private static func text(_ code: UInt) -> String {
        ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(code)"
    }

    // MARK: Receiving

    /// Takes what came from the network. It is to be read at once: what is taken is kept until then.
    func receive(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { bytes in
            var written = 0
            guard bytes.count > 0 else { return }
            let isTaken = BIO_write_ex(input, bytes.baseAddress, bytes.count, &written) == 1 && written == bytes.count
            precondition(isTaken, "no memory for what came over TLS")
        }
    }

    /// What the peer has said since, `nil` if that is nothing.
    ///
    /// - Throws: `malformed` when bytes are not those that the peer has sent.
    func read() throws(WireError) -> ByteBuffer? {
        var plaintext = ByteBuffer()
        // Without either, libssl has a record in part at most.
        while case let expected = ssl_bio_waiting(input) + Int(SSL_pending(ssl)), expected > 0, !isEnded {
            var count = 0
            ERR_clear_error()
            plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: expected) { bytes in
                _ = SSL_read_ex(ssl, bytes.baseAddress, bytes.count, &count)
                return count
            }
            if count > 0 { continue }
            switch SSL_get_error(ssl, 0) {
            case SSL_ERROR_WANT_READ: return plaintext.readableBytes > 0 ? plaintext : nil
            case SSL_ERROR_ZERO_RETURN: isEnded = true
            default: throw .malformed("TLS: \(Self.text(ERR_peek_last_error()))")
            }
        }
        return plaintext.readableBytes > 0 ? plaintext : nil
    }

    // MARK: Sending

    /// Encrypts what is to be said, after the handshake.
    ///
    /// - Returns: what is to be sent, with all that waited.
    func encrypt(_ plaintext: ByteBuffer) throws(WireError) -> ByteBuffer {
        var ciphertext = ByteBuffer()
        let records = Self.records(plaintext.readableBytes)
        ciphertext.reserveCapacity(plaintext.readableBytes + (records + 1) * Self.recordOverhead)
        var rest = plaintext
        while let piece = rest.readSlice(length: min(rest.readableBytes, Self.pieceSize)), piece.readableBytes > 0 {
            changeKeyIfWornOut()
            recordsSent += Self.records(piece.readableBytes)
            ERR_clear_error()
            let isWritten = piece.withUnsafeReadableBytes { bytes in
                var count = 0
                return SSL_write_ex(ssl, bytes.baseAddress, bytes.count, &count) == 1 && count == bytes.count
            }
            guard isWritten else { throw .malformed("TLS: \(Self.text(ERR_peek_last_error()))") }
            takeOutput(into: &ciphertext)
        }
        return ciphertext
    }

    private static func records(_ count: Int) -> Int { (count + recordSize - 1) / recordSize }

    /// Each end does that for what it sends.
    private func changeKeyIfWornOut() {
        guard recordsSent >= recordsPerKey, SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 else { return }
        recordsSent = 0
    }

    /// What the engine itself has for the peer: the handshake, an alert. `nil` if that is nothing.
    func takeOutput() -> ByteBuffer? {
        guard ssl_bio_waiting(output) > 0 else { return nil }
        var bytes = ByteBuffer()
        takeOutput(into: &bytes)
        return bytes
    }

    private func takeOutput(into bytes: inout ByteBuffer) {
        let waiting = ssl_bio_waiting(output)
        guard waiting > 0 else { return }
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: waiting) { space in
            var count = 0
            _ = BIO_read_ex(output, space.baseAddress, waiting, &count)
            return count
        }
    }

    /// Says that nothing more comes; `takeOutput` has the words.
    func end() {
        guard isEstablished else { return }
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
    }
}
