import NIOCore
import NIOPosix
import Synchronization

/// A piece of network between a node and a server that can be made to misbehave.
final class Relay: Sendable {
    /// What it does with the bytes that the server sends; what the client sends it always passes on, unless `silent`.
    struct Fault: Sendable {
        /// Bytes vanish, both ways.
        var isSilent = false
        /// The server's bytes are not even read.
        var isJammed = false
        /// The bit of the stream from now on that is flipped, of both directions.
        var flippedBit: Int?
    }

    let fault = Mutex(Fault())
    private let listener: any Channel

    var port: Int { listener.localAddress?.port ?? 0 }

    private init(listener: any Channel, bind: (Relay) -> Void) {
        self.listener = listener
        bind(self)
    }

    static func start(to port: Int, group: any EventLoopGroup) async throws -> Relay {
        let box = Mutex<Relay?>(nil)
        let reference = RelayReference(relay: box)
        let listener = try await ServerBootstrap(group: group)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in
                ClientBootstrap(group: client.eventLoop).channelOption(.autoRead, value: false)
                    .connect(host: "127.0.0.1", port: port).flatMapThrowing { server in
                        guard let relay = reference.get() else { throw ChannelError.ioOnClosedChannel }
                        let up = RelayHandler(relay: relay, other: server, isFromServer: false)
                        let down = RelayHandler(relay: relay, other: client, isFromServer: true)
                        try client.pipeline.syncOperations.addHandler(up)
                        try server.pipeline.syncOperations.addHandler(down)
                        server.read()
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return Relay(listener: listener) { relay in reference.set(relay) }
    }

    func stop() async throws { try await listener.close() }
}

/// Lets connections find the relay, which is made after its listener.
private final class RelayReference: Sendable {
    private let relay: Mutex<Relay?>
    init(relay: consuming Mutex<Relay?>) { self.relay = relay }
    func set(_ value: Relay) { relay.withLock { $0 = value } }
    func get() -> Relay? { relay.withLock { $0 } }
}

private final class RelayHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let relay: Relay
    private let other: any Channel
    private let isFromServer: Bool

    init(relay: Relay, other: any Channel, isFromServer: Bool) {
        self.relay = relay
        self.other = other
        self.isFromServer = isFromServer
    }

    /// Of the client's side, which is accepted only now; the server's is active already.
    func channelActive(context: ChannelHandlerContext) { context.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let isLost = relay.fault.withLock { fault in
            if let bit = fault.flippedBit {
                let index = bit / 8
                if index < bytes.readableBytes {
                    let byte = bytes.getInteger(at: bytes.readerIndex + index, as: UInt8.self) ?? 0
                    bytes.setInteger(byte ^ UInt8(1 << (bit % 8)), at: bytes.readerIndex + index)
                    fault.flippedBit = nil
                } else {
                    fault.flippedBit = bit - bytes.readableBytes * 8
                }
            }
            return fault.isSilent
        }
        if !isLost { other.writeAndFlush(bytes, promise: nil) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !isFromServer || !relay.fault.withLock({ $0.isJammed }) { context.read() }
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { other.close(promise: nil) }
}
