package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// Listens for the other nodes of the cluster and hands what they ask to a `StorageHandler`, on the loop of the connection.
package final class StorageServer: Sendable {
    private let listener: any Channel
    private let door: Door
    /// The port that it listens on.
    package let port: Int

    private init(listener: any Channel, door: Door) {
        self.listener = listener
        port = listener.localAddress?.port ?? 0
        self.door = door
    }

    /// Binds and begins to serve.
    ///
    /// - Parameter port: 0 for any that is free.
    package static func start(
        host: String, port: Int, group: any EventLoopGroup, handler: any StorageHandler, credentials: WireCredentials,
        limits: WireLimits = WireLimits(), logger: Logger
    ) -> EventLoopFuture<StorageServer> {
        let door = Door(limits: limits)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.recvAllocator, value: WireLimits.recvAllocator)
            .childChannelOption(.writeBufferWaterMark, value: WireLimits.waterMark)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let pass = door.admit(channel) else { throw WireError.refused("too many connections") }
                    let owner = ServerConnection(handler: handler, limits: limits, logger: logger) {
                        door.recognise(pass)
                    }
                    let connection = WireConnection(
                        role: .server, credentials: credentials, limits: limits, owner: owner,
                        eventLoop: channel.eventLoop)
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        return bootstrap.bind(host: host, port: port).map { StorageServer(listener: $0, door: door) }
    }

    /// Takes no new connections and calls, lets those under way finish, breaks what is left after `limit`.
    package func close(within limit: TimeAmount = .seconds(30)) -> EventLoopFuture<Void> {
        let eventLoop = listener.eventLoop
        let door = self.door
        return listener.close().recover { _ in }.flatMap {
            let open = door.shut()
            for channel in open { channel.pipeline.fireUserInboundEventTriggered(WireConnection.Drain()) }
            let breaking = eventLoop.scheduleTask(in: limit) {
                for channel in open { channel.close(promise: nil) }
            }
            return EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: eventLoop).always { _ in
                breaking.cancel()
            }
        }
    }
}

/// Counts who is in, and who of them is not known yet.
private final class Door: Sendable {
    private struct Guests {
        var channels: [Int: any Channel] = [:]
        var unknown: Set<Int> = []
        var nextPass = 0
        var isShut = false
    }

    private let limits: WireLimits
    private let guests = Mutex(Guests())

    init(limits: WireLimits) { self.limits = limits }

    /// - Returns: `nil` when the limits forbid one more.
    func admit(_ channel: any Channel) -> Int? {
        let pass: Int? = guests.withLock { guests in
            guard !guests.isShut, guests.channels.count < limits.maximumConnections,
                guests.unknown.count < limits.maximumUnauthenticated
            else { return nil }
            let pass = guests.nextPass
            guests.nextPass += 1
            guests.channels[pass] = channel
            guests.unknown.insert(pass)
            return pass
        }
        if let pass { channel.closeFuture.whenComplete { _ in self.leave(pass) } }
        return pass
    }

    func recognise(_ pass: Int) {
        _ = guests.withLock { $0.unknown.remove(pass) }
    }

    private func leave(_ pass: Int) {
        guests.withLock {
            $0.channels[pass] = nil
            $0.unknown.remove(pass)
        }
    }

    /// Admits nobody more.
    ///
    /// - Returns: who is in.
    func shut() -> [any Channel] {
        guests.withLock {
            $0.isShut = true
            return Array($0.channels.values)
        }
    }
}

extension WireLimits {
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: lowWater, high: highWater)
    static let recvAllocator = AdaptiveRecvByteBufferAllocator(
        minimum: smallestRead, initial: smallestRead * 4, maximum: largestRead)
}
