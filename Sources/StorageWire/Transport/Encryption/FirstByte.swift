import NIOCore

/// Tells by the first byte of a peer whether it encrypts, and lets in those that do as they should. Makes itself superfluous.
final class FirstByte: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let context: TLSContext
    private let mayEnter: (_ isEncrypted: Bool) -> Bool
    private var isOver = false

    /// A TLS record with a handshake (RFC 8446 5.1). In the clear the first byte is that of the length of a hello, 0.
    private static let tlsHandshake: UInt8 = 0x16

    /// - Parameter mayEnter: asked once.
    init(_ context: TLSContext, mayEnter: @escaping (_ isEncrypted: Bool) -> Bool) {
        self.context = context
        self.mayEnter = mayEnter
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver, let first = unwrapInboundIn(data).readableBytesView.first else { return }
        isOver = true
        let isEncrypted = first == Self.tlsHandshake
        guard mayEnter(isEncrypted) else {
            return context.fireErrorCaught(
                WireError.refused("peer does not encrypt, and the links of this cluster have to be encrypted"))
        }
        let pipeline = context.pipeline.syncOperations
        if isEncrypted {
            let handler = TLSHandler(TLSEngine(self.context, role: .server))
            do { try pipeline.addHandler(handler, position: .after(self)) } catch {
                return context.fireErrorCaught(error)
            }
        }
        context.fireChannelRead(data)
        pipeline.removeHandler(self, promise: nil)
    }
}
