import NIOCore

/// How two nodes show each other that they hold the cluster's key, without sending it.
///
///     client                                   server
///     hello: versions, cluster id, nonce  ->
///                                         <-   challenge: the newest common version, nonce
///     proof: HMAC(key, "client", both)    ->
///                                         <-   welcome: HMAC(key, "server", both)
///
/// The codes cover both opening messages as they were sent, so that neither version nor cluster can be changed under way; their labels
/// differ, so that a code sent back proves nothing. The server proves itself only to a client that has: strangers learn a nonce.
/// Without I/O: frames in, frames out.
struct Handshake {
    enum Role {
        case client
        case server
    }

    /// A frame that the machine wants sent.
    struct Message: Equatable {
        var kind: Frame.Kind
        var payload: ByteBuffer
    }

    enum Step: Equatable {
        case send(Message)
        /// The peer has proved itself; what is to be sent, if anything, is the last of the handshake.
        case finish(Message?)
    }

    static let nonceLength = 32
    private static let magic: UInt32 = 0x5246_5731

    private enum State {
        case start
        case awaitingChallenge
        case awaitingProof
        case awaitingWelcome
        case over
    }

    private let role: Role
    private let credentials: WireCredentials
    private let versions: ClosedRange<WireVersion>
    /// The one that both use; known for certain once the handshake is finished.
    private(set) var version: WireVersion?
    private var state = State.start
    /// The opening messages as they were sent.
    private var transcript: [UInt8] = []

    /// - Parameter versions: those that may be used.
    init(role: Role, credentials: WireCredentials, versions: ClosedRange<WireVersion>) {
        self.role = role
        self.credentials = credentials
        self.versions = versions
    }

    /// What is sent before anything comes: the client's hello.
    mutating func begin() -> Message? {
        guard role == .client, state == .start else { return nil }
        var hello = ByteBuffer()
        hello.writeMultipleIntegers(Self.magic, versions.lowerBound.rawValue, versions.upperBound.rawValue)
        hello.writeShortBytes(credentials.clusterId)
        hello.writeShortBytes(credentials.random(Self.nonceLength))
        transcript.append(contentsOf: hello.readableBytesView)
        state = .awaitingChallenge
        return Message(kind: .hello, payload: hello)
    }

    /// - Throws: `refused` if the peer is not one of ours, `malformed` if it does not keep to the protocol. The connection is to be closed
    ///   without a word.
    mutating func receive(_ frame: Frame) throws(WireError) -> Step {
        switch (role, state, frame.header.kind) {
        case (.server, .start, .hello): return try challenge(frame.payload)
        case (.client, .awaitingChallenge, .challenge): return try prove(frame.payload)
        case (.server, .awaitingProof, .proof):
            try verify(frame.payload, from: .client)
            return .finish(Message(kind: .welcome, payload: code(of: .server)))
        case (.client, .awaitingWelcome, .welcome):
            try verify(frame.payload, from: .server)
            return .finish(nil)
        default:
            state = .over
            throw .malformed("\(frame.header.kind) during the handshake")
        }
    }

    private mutating func challenge(_ hello: ByteBuffer) throws(WireError) -> Step {
        var reader = WireReader(hello)
        guard try reader.integer(UInt32.self) == Self.magic else { throw .malformed("hello of another protocol") }
        let theirs = try reader.versions()
        guard theirs.overlaps(versions) else {
            throw .refused(
                "peer speaks versions \(theirs.lowerBound) to \(theirs.upperBound), not \(versions.lowerBound) to \(versions.upperBound)"
            )
        }
        let common = min(theirs.upperBound, versions.upperBound)
        guard try reader.shortBytes() == credentials.clusterId else { throw .refused("peer is of another cluster") }
        try Self.expectNonce(&reader)
        transcript.append(contentsOf: hello.readableBytesView)

        var challenge = ByteBuffer()
        challenge.writeInteger(common.rawValue)
        challenge.writeShortBytes(credentials.random(Self.nonceLength))
        transcript.append(contentsOf: challenge.readableBytesView)
        version = common
        state = .awaitingProof
        return .send(Message(kind: .challenge, payload: challenge))
    }

    private mutating func prove(_ challenge: ByteBuffer) throws(WireError) -> Step {
        var reader = WireReader(challenge)
        let chosen = WireVersion(rawValue: try reader.integer())
        guard versions.contains(chosen) else { throw .refused("peer chose version \(chosen), which was not offered") }
        try Self.expectNonce(&reader)
        transcript.append(contentsOf: challenge.readableBytesView)
        version = chosen
        state = .awaitingWelcome
        return .send(Message(kind: .proof, payload: code(of: .client)))
    }

    private static func expectNonce(_ reader: inout WireReader) throws(WireError) {
        guard try reader.shortBytes().count == nonceLength else { throw .malformed("nonce of another length") }
        try reader.expectEnd()
    }

    private mutating func verify(_ code: ByteBuffer, from role: Role) throws(WireError) {
        state = .over
        guard credentials.key.verifies(Array(code.readableBytesView), for: signed(by: role)) else {
            throw .refused("peer does not hold the cluster's key")
        }
    }

    private func code(of role: Role) -> ByteBuffer {
        ByteBuffer(bytes: credentials.key.code(for: signed(by: role)))
    }

    private func signed(by role: Role) -> [UInt8] {
        let label: StaticString =
            switch role {
            case .client: "ringfort storage wire client\0"
            case .server: "ringfort storage wire server\0"
            }
        return label.withUTF8Buffer { Array($0) } + transcript
    }
}
