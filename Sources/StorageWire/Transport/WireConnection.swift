import NIOCore

/// What one end does with a connection: `RemoteLink` calls over it, `ServerConnection` answers.
protocol WireConnectionOwner: AnyObject {
    /// The peer has proved itself.
    func connectionEstablished(_ connection: WireConnection)
    /// A frame of a call came. An error thrown breaks the connection.
    func connection(_ connection: WireConnection, received frame: Frame) throws(WireError)
    /// No new calls are welcome; the connection is to end when those under way have.
    func connectionShallDrain(_ connection: WireConnection)
    /// It is no more, or never was; heard exactly once.
    func connectionClosed(_ connection: WireConnection, reason: WireError)
}

/// One TCP connection between two nodes, the same at both ends: shakes hands, cuts input into frames, gathers what leaves in one turn of
/// the loop into one write, notices a silent peer.
///
/// A server stops reading from a peer that does not take its answers. A client always reads, so the two can never wait for each other.
final class WireConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// A user event that asks the connection to end when its calls have.
    struct Drain: Sendable {}

    let eventLoop: any EventLoop
    private let role: Handshake.Role
    private let limits: WireLimits
    private var owner: (any WireConnectionOwner)?
    private var context: ChannelHandlerContext?
    private var handshake: Handshake
    private var decoder = FrameDecoder(maximumPayload: Frame.maximumHandshakePayload)
    private var output: FrameOutput
    private var reason: WireError?
    private var timer: Scheduled<Void>?
    private(set) var isEstablished = false
    /// What both ends speak; nil until the peer has proved itself.
    var version: WireVersion? { isEstablished ? handshake.version : nil }
    /// The peer took the connection and ended it before anything was said against it here: it does not want one like this.
    private(set) var isTurnedAway = false
    private var isReading = false
    private var isPaused = false
    private var isFlushScheduled = false
    private var isFinishing = false
    /// Grows with each sign of life of the peer.
    private(set) var signs: UInt = 0
    private var signsSeen: UInt = 0
    private var silentIntervals = 0

    /// - Parameter output: what is to be sent once the peer has proved itself.
    init(
        role: Handshake.Role, credentials: WireCredentials, limits: WireLimits, owner: any WireConnectionOwner,
        eventLoop: any EventLoop, output: FrameOutput = FrameOutput()
    ) {
        self.role = role
        self.limits = limits
        self.owner = owner
        self.eventLoop = eventLoop
        self.output = output
        handshake = Handshake(role: role, credentials: credentials, versions: limits.versions)
    }

    // MARK: Sending

    /// Bytes that wait to be sent.
    var waitingBytes: Int { output.byteCount }

    /// Sends a frame with the others of this turn; before the handshake is over it waits for that, and of a broken connection it vanishes.
    ///
    /// - Returns: `false` if the payload is too large for a frame.
    func send(_ header: FrameHeader, encode: (inout ByteBuffer) -> ByteBuffer? = { _ in nil }) -> Bool {
        guard reason == nil else { return true }
        guard output.append(header, encode: encode) else { return false }
        appended()
        return true
    }

    /// Sends a reply, in several frames if need be.
    ///
    /// - Returns: `false` if it is too large for that too.
    func send(_ reply: StorageReply, _ header: FrameHeader) -> Bool {
        guard reason == nil else { return true }
        guard output.append(reply, header, maximumReply: limits.maximumReply) else { return false }
        appended()
        return true
    }

    private func appended() {
        if output.byteCount > limits.maximumOutput, isEstablished {
            close(.unreachable("peer takes nothing while \(output.byteCount) bytes wait"))
        }
        guard !isReading, !isFlushScheduled, isEstablished else { return }
        isFlushScheduled = true
        eventLoop.assumeIsolated().execute {
            self.isFlushScheduled = false
            self.flush()
        }
    }

    private func flush() {
        guard isEstablished, reason == nil, let context else { return }
        var hasWritten = false
        while context.channel.isWritable, let bytes = output.next() {
            context.write(wrapOutboundOut(bytes), promise: nil)
            hasWritten = true
        }
        if hasWritten { context.flush() }
        if isPaused, output.byteCount == 0 { resumeReading() }
        if isFinishing, output.byteCount == 0 { shutDownOutput() }
    }

    // MARK: Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        signs &+= 1
        decoder.append(unwrapInboundIn(data))
        process()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        signs &+= 1
        flush()
    }

    private func process() {
        do throws(WireError) {
            while !isPaused, reason == nil, let frame = try decoder.next() {
                try received(frame)
                if role == .server, output.byteCount > WireLimits.highWater { pauseReading() }
            }
        } catch {
            close(error)
        }
    }

    private func received(_ frame: Frame) throws(WireError) {
        guard isEstablished else { return try shakeHands(frame) }
        switch frame.header.kind {
        case .request, .followUp, .reply, .end: try owner?.connection(self, received: frame)
        case .ping: _ = send(FrameHeader(kind: .pong))
        case .pong: break
        case .hello, .challenge, .proof, .welcome: throw .malformed("\(frame.header.kind) after the handshake")
        }
    }

    private func pauseReading() {
        isPaused = true
        setAutoRead(false)
    }

    private func resumeReading() {
        isPaused = false
        setAutoRead(true)
        process()
        appended()
    }

    private func setAutoRead(_ isOn: Bool) {
        do {
            try context?.channel.syncOptions?.setOption(.autoRead, value: isOn)
        } catch {
            close(.unreachable("\(error)"))
        }
    }

    // MARK: Handshake

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    func channelActive(context: ChannelHandlerContext) { begin() }

    private func begin() {
        // It was given up before it was there.
        guard reason == nil else {
            context?.close(promise: nil)
            return
        }
        guard timer == nil else { return }
        timer = after(role == .client ? limits.connectTimeout : limits.handshakeTimeout) {
            $0.close(.refused("no handshake in time"))
        }
        if let message = handshake.begin() { write(message) }
    }

    private func shakeHands(_ frame: Frame) throws(WireError) {
        switch try handshake.receive(frame) {
        case .send(let message): write(message)
        case .finish(let message):
            if let message { write(message) }
            isEstablished = true
            decoder.maximumPayload = Frame.maximumPayload
            watch()
            owner?.connectionEstablished(self)
            flush()
        }
    }

    private func write(_ message: Handshake.Message) {
        var frame = FrameOutput()
        _ = frame.append(FrameHeader(kind: message.kind)) { _ in message.payload }
        while let bytes = frame.next() { context?.write(wrapOutboundOut(bytes), promise: nil) }
        context?.flush()
    }

    // MARK: Silence

    private func watch() {
        timer?.cancel()
        timer = after(limits.pingInterval) { connection in
            connection.checkSilence()
            if connection.reason == nil { connection.watch() }
        }
    }

    private func checkSilence() {
        silentIntervals = signs != signsSeen ? 0 : silentIntervals + 1
        signsSeen = signs
        guard silentIntervals > 0 else { return }
        // The client asks after one interval; the server waits one longer, since it hears of idle clients only by that.
        if silentIntervals >= limits.silentIntervals + (role == .server ? 1 : 0) {
            close(.unreachable("peer is silent"))
        } else if role == .client {
            askForSign()
        }
    }

    /// Has the peer show that it is there.
    func askForSign() { _ = send(FrameHeader(kind: .ping)) }

    private func after(_ time: TimeAmount, _ action: @escaping (WireConnection) -> Void) -> Scheduled<Void> {
        eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            if let self { action(self) }
        }
    }

    // MARK: Closing

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is Drain else { return context.fireUserInboundEventTriggered(event) }
        if isEstablished {
            owner?.connectionShallDrain(self)
        } else {
            close(.refused("server is closing"))
        }
    }

    /// Closes when everything that waits has been sent.
    func finish() {
        isFinishing = true
        flush()
    }

    /// The peer answers the end of the stream by closing; closing here would lose answers that are still on their way to it.
    private func shutDownOutput() {
        isFinishing = false
        guard let context else { return }
        let written = eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(mode: .output, promise: nil) }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
    }

    /// Breaks the connection at once.
    func close(_ reason: WireError) {
        guard self.reason == nil else { return }
        self.reason = reason
        if let context { context.close(promise: nil) } else { closed() }
    }

    /// Gives up a connection that does not stand, for another one. The owner hears no more of it.
    ///
    /// - Returns: what waits to be sent.
    func surrender() -> FrameOutput {
        let waiting = output
        owner = nil
        close(.unreachable("another connection takes its place"))
        return waiting
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? WireError { return close(error) }
        noteTurnedAway()
        close(.unreachable("\(error)"))
    }

    private func noteTurnedAway() {
        // The timer runs once the connection is there.
        if !isEstablished, reason == nil, timer != nil { isTurnedAway = true }
    }

    func channelInactive(context: ChannelHandlerContext) {
        closed()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        closed()
    }

    private func closed() {
        noteTurnedAway()
        timer?.cancel()
        let reason = self.reason ?? .unreachable(isEstablished ? "peer closed" : "peer closed during the handshake")
        self.reason = reason
        let owner = self.owner
        self.owner = nil
        owner?.connectionClosed(self, reason: reason)
        output = FrameOutput()
    }
}
