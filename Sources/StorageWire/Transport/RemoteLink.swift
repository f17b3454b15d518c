import Logging
import NIOCore

/// The calls of one event loop to one peer, and the connection that carries them.
///
/// Unchecked: it is used on its event loop only; closures that cross to get there carry it.
final class RemoteLink: @unchecked Sendable {
    /// Whom the link is to, and on which terms.
    struct Peer: Sendable {
        var host: String
        var port: Int
        var credentials: WireCredentials
        var limits: WireLimits
    }

    let eventLoop: any EventLoop
    private(set) var encryption: LinkEncryption
    private let peer: Peer
    private let logger: Logger
    private var state: LinkStateMachine
    /// Where new calls go.
    private var connection: ClientConnection?
    /// Those that only finish their calls.
    private var retired: [ClientConnection] = []
    private var isReportedDown = false

    static let down = StorageFailure(.unreachable, "peer is known to be down")

    init(peer: Peer, encryption: LinkEncryption, eventLoop: any EventLoop, logger: Logger) {
        self.peer = peer
        self.encryption = encryption
        self.eventLoop = eventLoop
        var logger = logger
        logger[metadataKey: "peer"] = "\(peer.host):\(peer.port)"
        self.logger = logger
        state = LinkStateMachine(firstProbe: peer.limits.firstProbe, longestProbe: peer.limits.longestProbe)
    }

    func call(
        _ request: StorageRequest, deadline: NIODeadline, receiver: any CallReceiver, tag: Int
    ) -> any StorageCall {
        let now = eventLoop.now
        var failure: StorageFailure?
        if deadline <= now {
            failure = StorageFailure(.deadline)
        } else {
            switch state.call() {
            case .send: break
            case .connectAndSend: connect()
            case .failUnreachable: failure = Self.down
            case .failClosing: failure = StorageFailure(.closing)
            }
        }
        let call = RemoteCall(
            connection: failure == nil ? connection : nil, request: request, deadline: deadline, now: now,
            receiver: receiver, tag: tag)
        if let failure {
            call.finish(failure)
        } else if let connection {
            connection.begin(call, request, now: now)
        } else {
            call.finish(Self.down)
        }
        return call
    }

    // MARK: Encryption

    /// Goes over to links of that kind: new calls wait for the next connection, those under way end on the one that they have.
    func use(_ encryption: LinkEncryption) {
        guard encryption != self.encryption else { return }
        self.encryption = encryption
        let isEncrypted = encryption == .required
        guard let connection, connection.isEncrypted != isEncrypted else { return }
        guard connection.isEstablished else { return connection.redial(isEncrypted: isEncrypted) }
        self.connection = nil
        retired.append(connection)
        state.replaced()
        connection.retire()
    }

    // MARK: Connection

    private func connect() {
        let connection = ClientConnection(self, peer, isEncrypted: encryption == .required)
        self.connection = connection
        connection.dial()
    }

    func established(_ connection: ClientConnection) {
        state.established()
        if isReportedDown { logger.info("storage node is back") }
        isReportedDown = false
    }

    /// A connection is no more.
    ///
    /// - Returns: what its calls come to.
    func ended(_ connection: ClientConnection, reason: WireError) -> StorageFailure {
        if connection === self.connection {
            self.connection = nil
            if let time = state.lost(isSilent: connection.isSilent) {
                report(reason)
                eventLoop.assumeIsolated().scheduleTask(in: time) {
                    if self.state.probe() { self.connect() }
                }
            } else {
                logger.debug("connection to storage node ended", metadata: ["reason": "\(reason)"])
            }
        } else {
            retired.removeAll { $0 === connection }
            logger.debug("replaced connection to storage node ended", metadata: ["reason": "\(reason)"])
        }
        return StorageFailure(state.isClosed ? .closing : .unreachable, "\(reason)")
    }

    /// Once for each time that the peer goes away, not for each attempt.
    private func report(_ reason: WireError) {
        guard !isReportedDown else { return }
        isReportedDown = true
        logger.warning("storage node cannot be reached", metadata: ["reason": "\(reason)"])
    }

    func close() {
        state.close()
        for connection in retired { connection.close() }
        connection?.close()
    }
}
