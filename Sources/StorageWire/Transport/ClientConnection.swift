import NIOCore
import NIOPosix

/// The calling end of a connection: files calls, sends their messages, delivers the replies. `ServerConnection` is the other end.
///
/// Unchecked: it is used on its event loop only; closures that cross to get there carry it.
final class ClientConnection: WireConnectionOwner, @unchecked Sendable {
    private let peer: RemoteLink.Peer
    private let eventLoop: any EventLoop
    /// Until the connection has ended.
    private var link: RemoteLink?
    private var wire: WireConnection?
    private(set) var isEncrypted: Bool
    private var calls: CallTable<RemoteCall>
    private var isSweepScheduled = false
    private var silence = SilenceWatch()
    /// It was given up for the silence of the peer.
    private(set) var isSilent = false
    /// It ends when its calls have.
    private var isRetired = false

    private static let over = StorageFailure(.malformed, "the call is over")

    init(_ link: RemoteLink, _ peer: RemoteLink.Peer, isEncrypted: Bool) {
        self.link = link
        self.peer = peer
        self.isEncrypted = isEncrypted
        eventLoop = link.eventLoop
        calls = CallTable(limit: peer.limits.maximumCalls, allocatesIds: true)
    }

    var isEstablished: Bool { wire?.isEstablished ?? false }

    // MARK: Calls

    func begin(_ call: RemoteCall, _ request: StorageRequest, now: NIODeadline) {
        guard let wire else { return call.finish(RemoteLink.down) }
        guard wire.waitingBytes < peer.limits.maximumOutput else {
            return call.finish(StorageFailure(.busy, "too much waits to be sent"))
        }
        guard let id = calls.add(call) else {
            return call.finish(StorageFailure(.busy, "too many calls are under way"))
        }
        call.id = id
        transmit(request, on: call, wire, now: now)
        scheduleSweep()
    }

    /// Sends what begins a call, once it is known whether the peer has such a message.
    private func transmit(_ request: StorageRequest, on call: RemoteCall, _ wire: WireConnection, now: NIODeadline) {
        if request.minimumVersion > peer.limits.versions.lowerBound {
            guard let version = wire.version else {
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
        guard wire.send(header, encode: { request.encode(into: &$0) }) else {
            calls.remove(call.id)
            return call.finish(StorageFailure(.malformed, "the message is too large"))
        }
    }

    func send(_ request: StorageRequest, on call: RemoteCall) {
        guard let wire, wire.waitingBytes < peer.limits.maximumOutput else {
            return giveUp(call, StorageFailure(.busy, "too much waits to be sent"))
        }
        let now = eventLoop.now
        call.deadline = now + call.allowance
        let header = FrameHeader(kind: .followUp, call: call.id, remaining: call.remaining(at: now))
        guard wire.send(header, encode: { request.encode(into: &$0) }) else {
            return giveUp(call, StorageFailure(.malformed, "the message is too large"))
        }
        scheduleSweep()
    }

    func end(_ call: RemoteCall) { giveUp(call, Self.over) }

    /// Ends a call that is under way, here and there.
    private func giveUp(_ call: RemoteCall, _ failure: StorageFailure) {
        calls.remove(call.id)
        _ = wire?.send(FrameHeader(kind: .end, call: call.id))
        call.finish(failure)
        finishIfRetired()
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
        guard let wire, wire.isEstablished else { return }
        let limit = max(2, Int(peer.limits.silence.nanoseconds / peer.limits.sweepInterval.nanoseconds))
        let isOwing = calls.calls.contains { $0.outcome == nil && $0.unanswered > 0 }
        switch silence.sweep(signs: wire.signs, isOwing: isOwing, limit: limit) {
        case .wait: break
        case .askForSign: wire.askForSign()
        case .giveUp:
            isSilent = true
            wire.close(.unreachable("peer is silent"))
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
        guard isLast else { return }
        // Messages that were under way when the other side refused the call.
        if call.unanswered > 0 {
            if case .failed(let failure) = reply { call.finish(failure) } else { call.finish(Self.over) }
        }
        finishIfRetired()
    }

    // MARK: Connection

    /// Connects.
    ///
    /// - Parameter output: what waits for that.
    func dial(output: FrameOutput = FrameOutput()) {
        let wire = WireConnection(
            role: .client, credentials: peer.credentials, limits: peer.limits, owner: self, eventLoop: eventLoop,
            output: output)
        self.wire = wire
        let bound = NIOLoopBound(wire, eventLoop: eventLoop)
        let tls = isEncrypted ? peer.credentials.tls : nil
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(peer.limits.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelOption(.recvAllocator, value: WireLimits.recvAllocator)
            .channelOption(.writeBufferWaterMark, value: WireLimits.waterMark)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(TLSHandler(TLSEngine(tls, role: .client))) }
                    try pipeline.addHandler(bound.value)
                }
            }
        let connected: EventLoopFuture<any Channel>
        if let address = try? SocketAddress(ipAddress: peer.host, port: peer.port) {
            connected = bootstrap.connect(to: address)
        } else {
            connected = bootstrap.connect(host: peer.host, port: peer.port)
        }
        connected.assumeIsolated().whenFailure { wire.close(.unreachable("\($0)")) }
    }

    /// Begins again, the other way; what waits goes with it. For a connection that does not stand.
    func redial(isEncrypted: Bool) {
        guard let wire, !wire.isEstablished else { return }
        self.isEncrypted = isEncrypted
        dial(output: wire.surrender())
    }

    /// Ends when the calls that are under way have.
    func retire() {
        isRetired = true
        finishIfRetired()
    }

    private func finishIfRetired() {
        if isRetired, calls.count == 0 { wire?.finish() }
    }

    func close() { wire?.close(.unreachable("closed here")) }

    func connectionEstablished(_ connection: WireConnection) {
        link?.established(self)
        let now = eventLoop.now
        for call in calls.calls {
            guard let request = call.held else { continue }
            call.held = nil
            transmit(request, on: call, connection, now: now)
        }
    }

    func connectionShallDrain(_ connection: WireConnection) {}

    func connectionClosed(_ connection: WireConnection, reason: WireError) {
        if connection.isTurnedAway, !isEncrypted, link?.encryption == .whenAsked { return redial(isEncrypted: true) }
        wire = nil
        guard let link else { return }
        self.link = nil
        let failure = link.ended(self, reason: reason)
        let broken = calls.calls
        calls = CallTable(limit: peer.limits.maximumCalls, allocatesIds: true)
        for call in broken where call.outcome == nil { call.finish(failure) }
    }
}
