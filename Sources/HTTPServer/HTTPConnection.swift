internal import Logging
import NIOCore

/// The byte-level handler of one connection: feeds the parser, tells the application, and keeps requests apart.
///
/// One request at a time: what a client sends ahead waits in the parser, up to a limit. Reads are asked for one by one
/// (`autoRead` is off), and are not asked for while the request handler has paused the body.
final class HTTPConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Between requests, or inside a head.
        case awaiting
        /// A request is with the application.
        case exchanging
        /// Answered early: the rest of the body is read and dropped.
        case draining
        /// The last response is on its way out; what still comes in is dropped until the client has seen it.
        case lingering
        case closed
    }

    let id: UInt64
    let loop: HTTPLoop
    /// Where the loop keeps this connection; -1 when it does not.
    var tableIndex = -1
    private let isRefused: Bool
    private let count: ConnectionCount

    var context: ChannelHandlerContext?
    var phase = Phase.awaiting
    var parser: HTTPRequestParser
    var exchange: HTTPExchange?
    var handler: (any HTTPRequestHandler)?
    var request = RequestProgress()
    var response = ResponseProgress()
    var output = ConnectionOutput()
    var times = ConnectionTimes()

    /// The client has closed its side.
    var isInputClosed = false
    /// No request has come yet.
    var isFresh = true
    private var isAdvancing = false
    private var isReadRequested = false

    /// `count` already has this connection in it.
    init(id: UInt64, loop: HTTPLoop, count: ConnectionCount, refused: Bool) {
        self.id = id
        self.loop = loop
        self.count = count
        isRefused = refused
        parser = HTTPRequestParser(limits: loop.configuration.limits)
    }

    var remoteAddress: SocketAddress? { context?.channel.remoteAddress }
    var isWritable: Bool { context?.channel.isWritable ?? false }
}

/// Where the body of the current request stands.
struct RequestProgress {
    /// Bytes of body that came, from which the receive buffers are worth giving back afterwards.
    static let large = 256 * 1024

    /// Of a request with a body, for the case that the body is refused.
    var head: RequestHead?
    /// False for a request that has none, though its end may not be parsed yet.
    var hasBody = true
    var isBodyEnded = false
    var isPaused = false
    /// The client waits for 100 (Continue).
    var awaitsContinue = false
    /// Bytes of the body that were dropped after an early answer.
    var dropped: Int64 = 0
}

// MARK: - Channel events

extension HTTPConnection {
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    /// The last call of every channel, also of one that never became active.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        phase = .closed
        count.decrement()
        loop.remove(self)
    }

    func channelActive(context: ChannelHandlerContext) {
        if isRefused || loop.isDraining {
            refuseConnection()
            return
        }
        loop.add(self)
        times.begin(loop.now)
        requestRead()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        output.isInTurn = true
        times.received(bytes.readableBytes)
        switch phase {
        case .awaiting, .exchanging, .draining:
            parser.feed(bytes)
            advance()
        case .lingering:
            dropWhileLingering(bytes.readableBytes)
        case .closed:
            break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        output.isInTurn = false
        isReadRequested = false
        flushWithOthers()
        requestRead()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        handler?.writabilityChanged(context.channel.isWritable)
        advance()
        requestRead()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        isInputClosed = true
        advance()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        loop.logger.debug("connection failed", metadata: ["connection": "\(id)", "error": "\(error)"])
        cut(.closed)
    }

    func channelInactive(context: ChannelHandlerContext) {
        phase = .closed
        endRequest(.closed)
    }

    /// Asks for the next read, unless what came is not wanted yet.
    func requestRead() {
        guard !isReadRequested, wantsRead, let context else { return }
        isReadRequested = true
        context.read()
    }

    private var wantsRead: Bool {
        guard !isInputClosed else { return false }
        switch phase {
        case .awaiting: return isWritable || parser.bufferedBytes < loop.configuration.pipelineBytes
        case .exchanging:
            // Reading on while the answer is awaited notices a client that goes away, and costs no system call.
            return request.isBodyEnded ? parser.bufferedBytes < loop.configuration.pipelineBytes : !request.isPaused
        case .draining, .lingering: return true
        case .closed: return false
        }
    }
}

// MARK: - From bytes to calls

extension HTTPConnection {
    /// Hands on what the parser can give now. Calls from inside a handler return at once; the outer call goes on.
    func advance() {
        guard !isAdvancing else { return }
        isAdvancing = true
        while canAdvance, let event = parser.next() { take(event) }
        isAdvancing = false
        if phase == .awaiting { times.noteHead(isInside: parser.isInsideHead, loop.now) }
        if isInputClosed { endOfInput() }
    }

    private var canAdvance: Bool {
        switch phase {
        case .awaiting:
            // A client that sends requests and reads no responses must not fill the memory with responses.
            if output.isLarge { flush() }
            return isWritable
        case .exchanging: return !request.isPaused && !request.isBodyEnded
        case .draining: return true
        case .lingering, .closed: return false
        }
    }

    private func take(_ event: HTTPRequestParser.Event) {
        switch event {
        case .head(let head): begin(head)
        case .body(let chunk):
            if phase == .exchanging { handler?.body(chunk) } else { drop(chunk.readableBytes) }
        case .end:
            request.isBodyEnded = true
            if phase == .exchanging { handler?.bodyEnded() } else { awaitNextRequest() }
        case .failure(let error): refuse(error)
        }
    }

    private func begin(_ head: RequestHead) {
        guard let context else { return }
        phase = .exchanging
        isFresh = false
        request = RequestProgress()
        request.hasBody = head.hasBody
        if head.hasBody { request.head = head }
        request.awaitsContinue = head.expectsContinue
        response = ResponseProgress(head, closes: !head.isKeepAlive || loop.isDraining)
        times.beginBody(loop.now)
        let exchange = HTTPExchange(
            connection: self, connectionID: id, eventLoop: loop.eventLoop, allocator: context.channel.allocator)
        self.exchange = exchange
        let handler = loop.application.accept(head, exchange: exchange)
        guard self.exchange === exchange else { return }
        self.handler = handler
        if request.awaitsContinue, !request.isPaused, !response.isStarted { sendContinue() }
    }

    /// The client will send nothing more.
    private func endOfInput() {
        switch phase {
        case .awaiting: if isWritable { closeOutput(lingers: false) }
        case .exchanging: if !request.isBodyEnded, !request.isPaused { cut(.closed) }
        case .draining: closeOutput(lingers: false)
        case .lingering: stopLingering()
        case .closed: break
        }
    }

    /// Nothing is under way any more: the next request may come, unless this is the end.
    func awaitNextRequest() {
        if loop.isDraining {
            closeOutput(lingers: false)
            return
        }
        phase = .awaiting
        if times.bodyBytes > RequestProgress.large { shrinkReceiveBuffers() }
        times.beginIdle(loop.now)
        parser.startNextRequest()
        advance()
        requestRead()
    }

    /// The channel keeps a receive buffer for each message per read, as large as the last body made them; setting the
    /// number drops all but one.
    private func shrinkReceiveBuffers() {
        guard let options = context?.channel.syncOptions else { return }
        for messages: UInt in [1, HTTPListener.messagesPerRead] {
            // Refused only by a channel that is closed, which keeps none.
            try? options.setOption(.maxMessagesPerRead, value: messages)
        }
    }

    private func drop(_ count: Int) {
        request.dropped += Int64(count)
        if request.dropped > loop.configuration.drainBytes { closeOutput(lingers: true) }
    }

    private func dropWhileLingering(_ count: Int) {
        request.dropped += Int64(count)
        if request.dropped > loop.configuration.drainBytes { close() }
    }
}

// MARK: - Flow of the body

extension HTTPConnection {
    func pauseBody() {
        request.isPaused = true
    }

    func resumeBody() {
        guard request.isPaused else { return }
        request.isPaused = false
        times.beginBody(loop.now)
        if request.awaitsContinue, !response.isStarted { sendContinue() }
        advance()
        requestRead()
    }

    func sendContinue() {
        guard request.awaitsContinue, !response.isStarted else { return }
        request.awaitsContinue = false
        times.beginBody(loop.now)
        // A client that did not wait needs no invitation.
        guard parser.bufferedBytes == 0 else { return }
        withOutput { $0.writeContinue() }
        if !output.isInTurn { flush() }
    }
}
