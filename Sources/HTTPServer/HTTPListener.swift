package import Logging
package import NIOCore
private import NIOPosix

/// A listening socket and the connections that came through it.
///
///     let listener = try await HTTPListener.bind(
///         host: "127.0.0.1", port: 8080, group: group, application: application, logger: logger).get()
///     ...
///     try await listener.drain(within: .seconds(30)).get()
package final class HTTPListener: Sendable {
    /// Where it listens, with the port the kernel chose if 0 was asked for.
    package let address: SocketAddress
    /// Reads from one connection before others get their turn.
    static let messagesPerRead: UInt = 4

    private let channel: any Channel
    private let loops: HTTPLoops

    private init(address: SocketAddress, channel: any Channel, loops: HTTPLoops) {
        self.address = address
        self.channel = channel
        self.loops = loops
    }

    /// Connections that are open now.
    package var connectionCount: Int { loops.count }

    /// Binds and listens. Fails with the system's error, such as an address in use.
    package static func bind(
        host: String, port: Int, group: any EventLoopGroup, application: any HTTPApplication,
        configuration: HTTPConfiguration = HTTPConfiguration(), logger: Logger
    ) -> EventLoopFuture<HTTPListener> {
        let loops = HTTPLoops(group: group, application: application, configuration: configuration, logger: logger)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: configuration.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: messagesPerRead)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 4096, maximum: configuration.readBuffer)
            )
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(low: configuration.writeLowWater, high: configuration.writeHighWater)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(loops.makeConnection(channel))
                }
            }
        return bootstrap.bind(host: host, port: port).flatMapThrowing { channel in
            guard let address = channel.localAddress else { throw ChannelError.ioOnClosedChannel }
            return HTTPListener(address: address, channel: channel, loops: loops)
        }
    }

    /// Closes the listening socket; connections live on.
    package func stopAccepting() -> EventLoopFuture<Void> {
        channel.close(mode: .all, promise: nil)
        // Closed before, as by a second call, is fine too: the future tells that it is closed.
        return channel.closeFuture
    }

    /// Stops accepting, closes idle connections, lets running requests end with `Connection: close`, and those of clients that
    /// have just connected, and cuts what is left when `deadline` has passed. Succeeds when the last connection is closed.
    package func drain(within deadline: TimeAmount) -> EventLoopFuture<Void> {
        stopAccepting().flatMap { [loops, channel] in
            loops.drain(within: deadline, on: channel.eventLoop)
        }
    }
}
