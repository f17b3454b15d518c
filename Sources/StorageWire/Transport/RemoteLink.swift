import Logging
import NIOCore
import NIOPosix

/// The calls of one event loop to one peer, and the connection that carries them.
///
/// Unchecked: it is used on its event loop only; closures that cross to get there carry it.
final class RemoteLink: WireConnectionOwner, @unchecked Sendable {
    /// Whom the link is to, and on which terms.
    struct Peer: Sendable {
        var host: String
        var port: Int
        var credentials: WireCredentials
        var limits: WireLimits
    }

    let eventLoop: any EventLoop
    private let peer: Peer
    private let logger: Logger
    private var state: LinkStateMachine
    private var calls: CallTable<RemoteCall>
    private var connection: WireConnection?
    private var isSweepScheduled = false
    private var isReportedDown = false
    private var silence = SilenceWatch()
    /// The connection that ends now was given up for its silence.
    private var isSilent = false

    private static let down = StorageFailure(.unreachable, "peer is known to be down")
    private static let over = StorageFailure(.malformed, "the call is over")

    init(peer: Peer, eventLoop: any EventLoop, logger: Logger) {
        self.peer = peer
        self.eventLoop = eventLoop
        var logger = logger
        logger[metadataKey: "peer"] = "\(peer.host):\(peer.port)"
        self.logger = logger
        state = LinkStateMachine(firstProbe: peer.limits.firstProbe, longestProbe: peer.limits.longestProbe)
        calls = CallTable(limit: peer.limits.maximumCalls, allocatesIds: true)
    }

    // MARK: Calls

    func call(
        _ request: StorageRequest, deadline: NIODeadline, receiver: any CallReceiver, tag: Int
    ) -> any StorageCall {
        let now = eventLoop.now
        let call = RemoteCall(
            link: self, request: request, deadline: deadline, now: now, receiver: receiver, tag: tag)
        if deadline <= now {
            call.finish(StorageFailure(.deadline))
            return call
        }
        switch state.call() {
        case .send: break
        case .connectAndSend: connect()
        case .failUnreachable:
            call.finish(Self.down)
            return call
        case .failClosing:
            call.finish(StorageFailure(.closing))
            return call
        }
        begin(call, request, now: now)
        return call
    }

    private func begin(_ call: RemoteCall, _ request: StorageRequest, now: NIODeadline) {
        guard let connection else { return call.finish(Self.down) }
        guard connection.waitingBytes < peer.limits.maximumOutput else {
            return call.finish(StorageFailure(.busy, "too much waits to be sent"))
        }
        guard let id = calls.add(call) else {
            return call.finish(StorageFailure(.busy, "too many calls are under way"))
        }
        call.id = id
        transmit(request, on: call, connection, now: now)
        scheduleSweep()
    }

    /// Sends what begins a call, once it is known whether the peer has such a message.
    private func transmit(
        _ request: StorageRequest, on call: RemoteCall, _ connection: WireConnection, now: NIODeadline
    ) {
        if request.minimumVersion > peer.limits.versions.lowerBound {
            guard let version = connection.version else {
                call.held = request
                return
            }
            guard request.minimumVersion <= version else {
                calls.remove(call.id)
                return call.finish(
                    StorageFailure(.unsupported, "peer speaks version \(version), not \(request.minimumVersion)"))
            }
        }
        let header = FrameHeader(kind: .request, call: call.id, remaining: call.remaining(at: now))
        guard connection.send(header, encode: { request.encode(into: &$0) }) else {
            calls.remove(call.id)
            return call.finish(StorageFailure(.malformed, "the message is too large"))
        }
    }

    func send(_ request: StorageRequest, on call: RemoteCall) {
        call.unanswered += 1
        if let outcome = call.outcome { return call.finish(outcome) }
        guard let connection, connection.waitingBytes < peer.limits.maximumOutput else {
            return giveUp(call, StorageFailure(.busy, "too much waits to be sent"))
        }
        let now = eventLoop.now
        call.deadline = now + call.allowance
        let header = FrameHeader(kind: .followUp, call: call.id, remaining: call.remaining(at: now))
        guard connection.send(header, encode: { request.encode(into: &$0) }) else {
            return giveUp(call, StorageFailure(.malformed, "the message is too large"))
        }
        scheduleSweep()
    }

    func end(_ call: RemoteCall) {
        call.receiver = nil
        if call.outcome == nil { giveUp(call, Self.over) }
    }

    /// Ends a call that is under way, here and there.
    private func giveUp(_ call: RemoteCall, _ failure: StorageFailure) {
        calls.remove(call.id)
        _ = connection?.send(FrameHeader(kind: .end, call: call.id))
        call.finish(failure)
    }

    // MARK: Deadlines

    private func scheduleSweep() {
        guard !isSweepScheduled, calls.count > 0 else { return }
        isSweepScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: peer.limits.sweepInterval) {
            self.isSweepScheduled = false
            self.sweep()
            self.watchSilence()
            self.scheduleSweep()
        }
    }

    /// Fails what is too late. A call that waits for nothing has time until its next message.
    private func sweep() {
        let now = eventLoop.now
        for call in calls.calls where call.outcome == nil && call.unanswered > 0 && call.deadline <= now {
            giveUp(call, StorageFailure(.deadline))
        }
    }

    /// Gives up a peer that owes answers and shows no sign of life: everything that waits for it fails at once, and so do calls to come until it is back.
    private func watchSilence() {
        guard let connection, connection.isEstablished else { return }
        let limit = max(2, Int(peer.limits.silence.nanoseconds / peer.limits.sweepInterval.nanoseconds))
        let isOwing = calls.calls.contains { $0.outcome == nil && $0.unanswered > 0 }
        switch silence.sweep(signs: connection.signs, isOwing: isOwing, limit: limit) {
        case .wait: break
        case .askForSign: connection.askForSign()
        case .giveUp:
            isSilent = true
            connection.close(.unreachable("peer is silent"))
        }
    }

    // MARK: Replies

    func connection(_ connection: WireConnection, received frame: Frame) throws(WireError) {
        guard frame.header.kind == .reply else { throw .malformed("\(frame.header.kind) from a server") }
        // A reply to a call that was given up while it was on its way.
        guard let call = calls[frame.header.call] else { return }
        guard call.unanswered > 0 else { throw .malformed("reply without a request") }
        guard let payload = try collect(frame, for: call) else { return }
        guard let reply = try? StorageReply(decoding: payload) else {
            return giveUp(call, StorageFailure(.malformed, "the reply makes no sense"))
        }
        deliver(reply, to: call, isLast: frame.header.flags.contains(.last))
    }

    /// The whole reply, `nil` until its last frame.
    private func collect(_ frame: Frame, for call: RemoteCall) throws(WireError) -> ByteBuffer? {
        let goesOn = frame.header.flags.contains(.more)
        guard goesOn || call.partialReply != nil else { return frame.payload }
        // Taken out while it grows, so that it has one owner and grows in place.
        var whole = call.partialReply ?? ByteBuffer()
        call.partialReply = nil
        guard whole.readableBytes + frame.payload.readableBytes <= peer.limits.maximumReply else {
            throw .malformed("reply over \(peer.limits.maximumReply) bytes")
        }
        whole.writeImmutableBuffer(frame.payload)
        if goesOn { call.partialReply = whole }
        return goesOn ? nil : whole
    }

    private func deliver(_ reply: StorageReply, to call: RemoteCall, isLast: Bool) {
        call.unanswered -= 1
        let receiver = call.receiver
        if isLast {
            calls.remove(call.id)
            call.outcome = Self.over
            if !call.mayContinue { call.receiver = nil }
        }
        receiver?.received(reply, tag: call.tag)
        // Messages that were under way when the other side refused the call.
        guard isLast, call.unanswered > 0 else { return }
        if case .failed(let failure) = reply { call.finish(failure) } else { call.finish(Self.over) }
    }

    // MARK: Connection

    private func connect() {
        let connection = WireConnection(
            role: .client, credentials: peer.credentials, limits: peer.limits, owner: self, eventLoop: eventLoop)
        self.connection = connection
        let bound = NIOLoopBound(connection, eventLoop: eventLoop)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(peer.limits.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelOption(.recvAllocator, value: WireLimits.recvAllocator)
            .channelOption(.writeBufferWaterMark, value: WireLimits.waterMark)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(bound.value) }
            }
        let connected: EventLoopFuture<any Channel>
        if let address = try? SocketAddress(ipAddress: peer.host, port: peer.port) {
            connected = bootstrap.connect(to: address)
        } else {
            connected = bootstrap.connect(host: peer.host, port: peer.port)
        }
        connected.assumeIsolated().whenFailure { connection.close(.unreachable("\($0)")) }
    }

    func connectionEstablished(_ connection: WireConnection) {
        state.established()
        if isReportedDown { logger.info("storage node is back") }
        isReportedDown = false
        let now = eventLoop.now
        for call in calls.calls {
            guard let request = call.held else { continue }
            call.held = nil
            transmit(request, on: call, connection, now: now)
        }
    }

    func connectionShallDrain(_ connection: WireConnection) {}

    func connectionClosed(_ connection: WireConnection, reason: WireError) {
        self.connection = nil
        silence = SilenceWatch()
        defer { isSilent = false }
        if let time = state.lost(isSilent: isSilent) {
            report(reason)
            eventLoop.assumeIsolated().scheduleTask(in: time) {
                if self.state.probe() { self.connect() }
            }
        } else {
            logger.debug("connection to storage node ended", metadata: ["reason": "\(reason)"])
        }
        let broken = calls.calls
        calls = CallTable(limit: peer.limits.maximumCalls, allocatesIds: true)
        let failure = StorageFailure(state.isClosed ? .closing : .unreachable, "\(reason)")
        for call in broken where call.outcome == nil { call.finish(failure) }
    }

    /// Once for each time that the peer goes away, not for each attempt.
    private func report(_ reason: WireError) {
        guard !isReportedDown else { return }
        isReportedDown = true
        logger.warning("storage node cannot be reached", metadata: ["reason": "\(reason)"])
    }

    func close() {
        state.close()
        connection?.close(.unreachable("closed here"))
    }
}
