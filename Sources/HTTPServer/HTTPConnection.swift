import NIOCore

/// The byte-level handler of one connection.
final class HTTPConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    let id: UInt64
    let loop: HTTPLoop
    private var context: ChannelHandlerContext?

    init(id: UInt64, loop: HTTPLoop, refused: Bool) {
        self.id = id
        self.loop = loop
    }

    var remoteAddress: SocketAddress? { context?.channel.remoteAddress }
    var isWritable: Bool { context?.channel.isWritable ?? false }
    func pauseBody() {}
    func resumeBody() {}
    func sendContinue() {}
    func respond(_ status: HTTPStatus, headers: ResponseHeaders, body: ByteBuffer?) {}
    func start(_ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?) {}
    func write(_ bytes: ByteBuffer) {}
    func finish() {}
    func abort() {}
}
