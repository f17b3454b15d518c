internal import Glibc
internal import Logging
import NIOCore

/// Where the response to the current request stands.
struct ResponseProgress {
    var encoder: ResponseEncoder
    var isStarted = false
    /// The connection ends with this response.
    var closes: Bool

    init() {
        encoder = ResponseEncoder()
        closes = true
    }

    init(_ head: RequestHead, closes: Bool) {
        encoder = ResponseEncoder(method: head.method, minorVersion: head.minorVersion)
        self.closes = closes
        contentLength = head.contentLength
    }

    /// Of the request.
    var contentLength: Int64?
}

/// Bytes on their way to the channel.
struct ConnectionOutput {
    /// From this many bytes on, what was collected is sent before more is.
    static let large = 64 * 1024
    /// Pieces up to this size are copied behind the bytes before them; larger ones go as they are.
    static let copied = 16 * 1024

    /// Collected, and not handed to the channel yet.
    var buffer = ByteBuffer()
    /// Handed to the channel, and not flushed yet.
    var isUnflushed = false
    /// Inside the channel's read turn, at whose end everything is flushed.
    var isInTurn = false
    var isFlushScheduled = false
    /// Bytes handed to the channel so far.
    var handedOver = 0

    var isLarge: Bool { buffer.readableBytes >= Self.large }
}

// MARK: - What the application calls

extension HTTPConnection {
    func respond(_ status: HTTPStatus, headers: ResponseHeaders, body: ByteBuffer?) {
        guard !response.isStarted else { return }
        begin(status, headers: headers, contentLength: Int64(body?.readableBytes ?? 0))
        if let body, body.readableBytes > 0, response.encoder.piece(body.readableBytes) == .plain { send(body) }
        completeResponse()
    }

    func start(_ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?) {
        guard !response.isStarted else { return }
        begin(status, headers: headers, contentLength: contentLength)
        flushSoon()
    }

    func write(_ bytes: ByteBuffer) {
        guard response.isStarted else { return }
        switch response.encoder.piece(bytes.readableBytes) {
        case .omit: return
        case .plain: send(bytes)
        case .chunk:
            withOutput { $0.writeChunkStart(bytes.readableBytes) }
            send(bytes)
            withOutput { $0.writeCRLF() }
        case .excess:
            loop.logger.error("response is longer than its length", metadata: ["connection": "\(id)"])
            abort()
            return
        }
        flushSoon()
    }

    func finish() {
        guard response.isStarted else { return }
        switch response.encoder.end() {
        case .complete: completeResponse()
        case .lastChunk:
            withOutput { $0.writeLastChunk() }
            completeResponse()
        case .close:
            response.closes = true
            completeResponse()
        case .short:
            loop.logger.error("response is shorter than its length", metadata: ["connection": "\(id)"])
            abort()
        }
    }

    func abort() {
        if response.isStarted, response.encoder.isCloseDelimited { resetOnClose() }
        releaseExchange()
        close()
    }

    private func begin(_ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?) {
        response.isStarted = true
        if isInputClosed || loop.isDraining || !canReadRestOfBody { response.closes = true }
        writeHead(status, headers: headers, contentLength: contentLength)
    }

    private func writeHead(_ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?) {
        var closes = response.closes
        withOutput {
            response.encoder.start(
                status, headers: headers, contentLength: contentLength, date: loop.dateLine, closes: &closes, into: &$0)
        }
        response.closes = closes
    }

    /// Whether the connection can serve another request after an answer that is sent now (RFC 9110 10.1.1, RFC 9112 9.3).
    private var canReadRestOfBody: Bool {
        if request.isBodyEnded { return true }
        // Whether a client that waits for 100 sends its body after another answer cannot be known.
        if request.awaitsContinue { return false }
        return (response.contentLength ?? 0) <= loop.configuration.drainBytes
    }

    private func completeResponse() {
        releaseExchange()
        if response.closes {
            closeOutput(lingers: request.hasBody && !request.isBodyEnded)
        } else if request.isBodyEnded {
            flushUnlessInTurn()
            awaitNextRequest()
        } else {
            flushUnlessInTurn()
            phase = .draining
            times.beginPhase(loop.now)
            advance()
            requestRead()
        }
    }

    private func releaseExchange() {
        exchange?.detach()
        exchange = nil
        handler = nil
        request.head = nil
    }
}

// MARK: - Refusals and ends

extension HTTPConnection {
    /// Answers what the parser or a timeout refuses, if that is still possible, and ends the connection.
    func refuse(_ error: HTTPRequestError, reason: DisconnectReason? = nil) {
        let canAnswer = phase == .awaiting || (phase == .exchanging && !response.isStarted)
        if phase == .awaiting { response = ResponseProgress() }
        let encoder = response.encoder
        let head = request.head
        if phase == .exchanging { endRequest(reason ?? .malformed(error)) }
        guard canAnswer else {
            // Half a response has to look like one; a whole one may still be on its way.
            if phase == .draining { closeOutput(lingers: true) } else { close() }
            return
        }
        response = ResponseProgress()
        response.encoder = encoder
        sendError(error, head: head)
        closeOutput(lingers: true)
    }

    /// Past the limit of connections: 503, and the end.
    func refuseConnection() {
        loop.updateTime()
        response = ResponseProgress()
        sendError(HTTPRequestError(.serviceUnavailable, "There are too many connections."), head: nil)
        close()
    }

    private func sendError(_ error: HTTPRequestError, head: RequestHead?) {
        let answer = loop.application.errorResponse(error, head: head)
        response.isStarted = true
        writeHead(error.status, headers: answer.headers, contentLength: Int64(answer.body?.readableBytes ?? 0))
        if let body = answer.body, response.encoder.piece(body.readableBytes) == .plain { send(body) }
    }

    /// Tells the handler that its request is over.
    func endRequest(_ reason: DisconnectReason) {
        let ended = handler
        releaseExchange()
        ended?.disconnected(reason)
    }

    /// Ends request and connection now.
    func cut(_ reason: DisconnectReason) {
        guard phase != .closed else { return }
        if response.isStarted, exchange != nil, response.encoder.isCloseDelimited { resetOnClose() }
        endRequest(reason)
        close()
    }

    /// Shutdown has begun: an idle connection ends now, another one after its request. Who has only just connected may still send one.
    func drain() {
        guard phase == .awaiting, !parser.isInsideHead else { return }
        if !isFresh || hasPassed(loop.configuration.firstRequestTimeout, since: times.phaseSince) {
            closeOutput(lingers: false)
        }
    }

    /// Sends what is left and closes the sending side. If the client may still be sending, what it sends is read for a
    /// while: closing at once would reset the connection and take the answer away from it (RFC 9112 9.6).
    func closeOutput(lingers: Bool) {
        guard phase != .closed, phase != .lingering, let context else { return }
        flush()
        phase = .lingering
        times.lingers = lingers && !isInputClosed
        times.beginPhase(loop.now)
        request.dropped = 0
        if times.pendingBytes(context.channel) == 0 {
            outputDrained()
        } else {
            // The channel forgets pending bytes when it is closed; this promise waits for them.
            let promise = loop.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenSuccess { [weak self] in self?.outputDrained() }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
        }
        requestRead()
    }

    /// The client has nothing more to send, so only what is pending is waited for.
    func stopLingering() {
        guard times.lingers, let context else { return }
        times.lingers = false
        if times.pendingBytes(context.channel) == 0 { close() }
    }

    private func outputDrained() {
        guard phase == .lingering else { return }
        guard times.lingers else {
            close()
            return
        }
        times.beginPhase(loop.now)
        context?.close(mode: .output, promise: nil)
    }

    /// Closes the connection; what was written and fits the socket still arrives.
    func close() {
        flush()
        phase = .closed
        context?.close(promise: nil)
    }

    /// Makes the close a reset: to a client that takes the end of the connection for the end of the body, anything else
    /// would look like a whole response.
    private func resetOnClose() {
        guard let provider = context?.channel as? any SocketOptionProvider else { return }
        provider.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
    }
}

// MARK: - Output

extension HTTPConnection {
    /// Writes behind what was collected.
    func withOutput(_ body: (inout ByteBuffer) -> Void) {
        if output.buffer.readableBytes == 0 { output.buffer = loop.takeScratch() }
        body(&output.buffer)
    }

    private func send(_ bytes: ByteBuffer) {
        if bytes.readableBytes <= ConnectionOutput.copied {
            withOutput { $0.writeImmutableBuffer(bytes) }
        } else {
            handOver()
            hand(bytes)
        }
    }

    /// Everything that was written so far leaves, in one system call if the socket takes it.
    func flush() {
        handOver()
        guard output.isUnflushed, let context else { return }
        output.isUnflushed = false
        context.flush()
    }

    private func handOver() {
        guard output.buffer.readableBytes > 0 else { return }
        let buffer = output.buffer
        output.buffer = ByteBuffer()
        hand(buffer)
        loop.giveBack(buffer)
    }

    private func hand(_ bytes: ByteBuffer) {
        guard let context else { return }
        output.isUnflushed = true
        output.handedOver += bytes.readableBytes
        context.write(wrapOutboundOut(bytes), promise: nil)
    }

    private func flushUnlessInTurn() {
        if !output.isInTurn { flushWithOthers() }
    }

    private func flushSoon() {
        // Large pieces must count for `isWritable` at once; small ones wait for the end of the turn.
        if output.isLarge { handOver() }
        if !output.isInTurn { flushWithOthers() }
    }

    /// At the end of the loop's turn, or when many connections wait for it: whoever waits for the answers is woken once for several of them.
    func flushWithOthers() {
        guard !output.isFlushScheduled, output.isUnflushed || output.buffer.readableBytes > 0 else { return }
        output.isFlushScheduled = true
        loop.flushLater(self)
    }

    func flushScheduled() {
        output.isFlushScheduled = false
        if !output.isInTurn { flush() }
    }
}
