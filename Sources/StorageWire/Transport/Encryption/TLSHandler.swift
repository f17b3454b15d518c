import NIOCore

/// Encrypts what goes through a channel. The handler behind it does not know: it writes at once, and what it writes before the handshake is over
/// waits here.
///
/// Each write goes on to the channel when it is made, so that the channel's own bounds and its writability hold for what is encrypted too.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let engine: TLSEngine
    /// Written before the handshake was over.
    private var waiting = CircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)>()
    private var waitingBytes = 0
    private var hasBegun = false
    private var isOutputClosed = false
    /// Nothing more is read or written.
    private var isOver = false

    /// Bytes that may wait for the handshake: a hello and some room.
    private static let maximumWaiting = 64 << 10

    init(_ engine: TLSEngine) { self.engine = engine }

    // MARK: Handshake

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun else { return }
        hasBegun = true
        do throws(WireError) { _ = try shakeHands(context) } catch { fail(error, context) }
    }

    private func shakeHands(_ context: ChannelHandlerContext) throws(WireError) -> Bool {
        let isDone = try engine.shakeHands()
        sendOwn(context)
        guard isDone else { return false }
        while let (bytes, promise) = waiting.popFirst() { write(bytes, context, promise) }
        waitingBytes = 0
        context.flush()
        return true
    }

    /// Sends what the engine has to say by itself.
    private func sendOwn(_ context: ChannelHandlerContext) {
        if let bytes = engine.takeOutput() { context.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }
    }

    /// Tells the peer, then the handler behind, which closes.
    private func fail(_ error: WireError, _ context: ChannelHandlerContext) {
        isOver = true
        sendOwn(context)
        dropWaiting(error)
        context.fireErrorCaught(error)
    }

    private func dropWaiting(_ error: any Error) {
        waitingBytes = 0
        while let (_, promise) = waiting.popFirst() { promise?.fail(error) }
    }

    // MARK: Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        engine.receive(unwrapInboundIn(data))
        do throws(WireError) {
            if !engine.isEstablished {
                guard try shakeHands(context) else { return }
            }
            let plaintext = try engine.read()
            sendOwn(context)
            if let plaintext { context.fireChannelRead(wrapInboundOut(plaintext)) }
            // As if the connection had ended, which follows.
            if engine.isEnded, !isOver { close(context: context, mode: .all, promise: nil) }
        } catch {
            fail(error, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        isOver = true
        dropWaiting(ChannelError.ioOnClosedChannel)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        isOver = true
        dropWaiting(ChannelError.ioOnClosedChannel)
    }

    // MARK: Sending

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isOver, !isOutputClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        let bytes = unwrapOutboundIn(data)
        guard engine.isEstablished else {
            waiting.append((bytes, promise))
            waitingBytes += bytes.readableBytes
            if waitingBytes > Self.maximumWaiting {
                fail(.unreachable("\(waitingBytes) bytes wait for the TLS handshake"), context)
            }
            return
        }
        write(bytes, context, promise)
    }

    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        do throws(WireError) {
            context.write(wrapOutboundOut(try engine.encrypt(bytes)), promise: promise)
        } catch {
            promise?.fail(error)
            fail(error, context)
        }
    }

    // MARK: Closing

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .input: context.close(mode: .input, promise: promise)
        case .output:
            sayEnd()
            // What was written before goes out first.
            let written = context.eventLoop.makePromise(of: Void.self)
            let bytes = engine.takeOutput() ?? ByteBuffer()
            written.futureResult.assumeIsolated().whenComplete { _ in context.close(mode: .output, promise: promise) }
            context.writeAndFlush(wrapOutboundOut(bytes), promise: written)
        case .all:
            isOver = true
            sayEnd()
            sendOwn(context)
            context.close(mode: .all, promise: promise)
        }
    }

    private func sayEnd() {
        if !isOutputClosed { engine.end() }
        isOutputClosed = true
    }
}
