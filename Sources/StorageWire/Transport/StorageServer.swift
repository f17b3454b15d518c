package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// Listens for the other nodes of the cluster and hands what they ask to a `StorageHandler`, on the loop of the connection.
package final class StorageServer: Sendable {
    private let listener: any Channel
    private let door: Door
    private let limits: WireLimits
    private let logger: Logger
    /// The port that it listens on.
    package let port: Int

    private init(listener: any Channel, door: Door, limits: WireLimits, logger: Logger) {
        self.listener = listener
        port = listener.localAddress?.port ?? 0
        self.door = door
        self.limits = limits
        self.logger = logger
    }

    /// Binds and begins to serve.
    ///
    /// - Parameters:
    ///   - port: 0 for any that is free.
    ///   - requiresEncryption: see `require(encryption:)`; otherwise peers may encrypt or not.
    package static func start(
        host: String, port: Int, group: any EventLoopGroup, handler: any StorageHandler, credentials: WireCredentials,
        requiresEncryption: Bool = false, limits: WireLimits = WireLimits(), logger: Logger
    ) -> EventLoopFuture<StorageServer> {
        let door = Door(limits: limits, requiresEncryption: requiresEncryption)
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
                    let address = channel.remoteAddress?.ipAddress ?? ""
                    let owner = ServerConnection(
                        handler: handler, limits: limits, logger: logger, recognised: { door.recognise(pass) },
                        refused: { reason in
                            guard door.mayReport(at: .now()) else { return }
                            logger.warning(
                                "A peer is refused", metadata: ["peer": "\(address)", "reason": "\(reason)"])
                        })
                    let connection = WireConnection(
                        role: .server, credentials: credentials, limits: limits, owner: owner,
                        eventLoop: channel.eventLoop)
                    let first = FirstByte(credentials.tls) { door.mayEnter(pass, isEncrypted: $0) }
                    try channel.pipeline.syncOperations.addHandlers(first, connection)
                }
            }
        return bootstrap.bind(host: host, port: port).map {
            StorageServer(listener: $0, door: door, limits: limits, logger: logger)
        }
    }

    /// Peers that do not encrypt are turned away from now on, or let in again.
    ///
    /// Connections in the clear that are there take calls for `WireLimits.clearGrace` and end with them: a peer that has not heard yet goes on
    /// without a failed call.
    package func require(encryption isRequired: Bool) {
        guard let change = door.require(encryption: isRequired) else { return }
        let door = self.door
        let limits = self.limits
        let logger = self.logger
        let eventLoop = listener.eventLoop
        eventLoop.scheduleTask(in: limits.clearGrace) {
            let clear = door.unwanted(change)
            guard !clear.isEmpty else { return }
            logger.notice(
                "Links that are not encrypted end with their calls", metadata: ["connections": "\(clear.count)"])
            for channel in clear { channel.pipeline.fireUserInboundEventTriggered(WireConnection.Drain()) }
            eventLoop.scheduleTask(in: limits.clearLimit) {
                for channel in door.unwanted(change) { channel.close(promise: nil) }
            }
        }
    }

    /// Connections that peers have made, and how many of them are encrypted.
    package var connections: (all: Int, encrypted: Int) { door.counts }

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
    private struct Guest {
        var channel: any Channel
        /// `nil` before the first byte.
        var isEncrypted: Bool?
    }

    private struct Guests {
        var guests: [Int: Guest] = [:]
        var unknown: Set<Int> = []
        var nextPass = 0
        var isShut = false
        var requiresEncryption: Bool
        /// Counts how often that has changed.
        var changes = 0
        /// No further report of refused guests before it.
        var quietUntil = NIODeadline.now()
    }

    private let limits: WireLimits
    private let guests: Mutex<Guests>

    /// Between two reports, so that strangers don't fill the log.
    private static let reportInterval = TimeAmount.seconds(10)

    init(limits: WireLimits, requiresEncryption: Bool) {
        self.limits = limits
        guests = Mutex(Guests(requiresEncryption: requiresEncryption))
    }

    /// - Returns: `nil` when the limits forbid one more.
    func admit(_ channel: any Channel) -> Int? {
        let pass: Int? = guests.withLock { guests in
            guard !guests.isShut, guests.guests.count < limits.maximumConnections,
                guests.unknown.count < limits.maximumUnauthenticated
            else { return nil }
            let pass = guests.nextPass
            guests.nextPass += 1
            guests.guests[pass] = Guest(channel: channel)
            guests.unknown.insert(pass)
            return pass
        }
        if let pass { channel.closeFuture.whenComplete { _ in self.leave(pass) } }
        return pass
    }

    func recognise(_ pass: Int) {
        _ = guests.withLock { $0.unknown.remove(pass) }
    }

    /// Notes what the first byte has told.
    ///
    /// - Returns: whether that is as it has to be.
    func mayEnter(_ pass: Int, isEncrypted: Bool) -> Bool {
        guests.withLock { guests in
            guests.guests[pass]?.isEncrypted = isEncrypted
            return isEncrypted || !guests.requiresEncryption
        }
    }

    /// - Returns: which change this is; `nil` for none, or when nobody has to leave.
    func require(encryption isRequired: Bool) -> Int? {
        guests.withLock { guests in
            guard guests.requiresEncryption != isRequired else { return nil }
            guests.requiresEncryption = isRequired
            guests.changes += 1
            return isRequired ? guests.changes : nil
        }
    }

    /// Guests that do not encrypt; none when the rule has changed again since.
    func unwanted(_ change: Int) -> [any Channel] {
        guests.withLock { guests in
            guard guests.changes == change else { return [] }
            return guests.guests.values.filter { $0.isEncrypted == false }.map(\.channel)
        }
    }

    var counts: (all: Int, encrypted: Int) {
        guests.withLock { guests in
            let all = guests.guests.values.filter { $0.isEncrypted != nil }
            return (all.count, all.filter { $0.isEncrypted == true }.count)
        }
    }

    func mayReport(at now: NIODeadline) -> Bool {
        guests.withLock { guests in
            guard guests.quietUntil <= now else { return false }
            guests.quietUntil = now + Self.reportInterval
            return true
        }
    }

    private func leave(_ pass: Int) {
        guests.withLock {
            $0.guests[pass] = nil
            $0.unknown.remove(pass)
        }
    }

    /// Admits nobody more.
    ///
    /// - Returns: who is in.
    func shut() -> [any Channel] {
        guests.withLock {
            $0.isShut = true
            return $0.guests.values.map(\.channel)
        }
    }
}

extension WireLimits {
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: lowWater, high: highWater)
    static let recvAllocator = AdaptiveRecvByteBufferAllocator(
        minimum: smallestRead, initial: smallestRead * 4, maximum: largestRead)
}
