import Logging
import NIOCore
internal import Synchronization

/// The event loops of a listener, each with its own table of connections.
final class HTTPLoops: Sendable {
    private let loops: [ObjectIdentifier: HTTPLoop]
    private let openConnections = ConnectionCount()
    private let lastID = Atomic<UInt64>(0)
    private let limit: Int

    init(
        group: any EventLoopGroup, application: any HTTPApplication, configuration: HTTPConfiguration, logger: Logger
    ) {
        var loops: [ObjectIdentifier: HTTPLoop] = [:]
        for eventLoop in group.makeIterator() {
            loops[ObjectIdentifier(eventLoop)] = HTTPLoop(
                eventLoop: eventLoop, application: application, configuration: configuration, logger: logger)
        }
        self.loops = loops
        limit = configuration.connections
    }

    /// Connections that are open on all loops.
    var count: Int { openConnections.value }

    /// The handler of a new channel; on the channel's loop. Past the limit it only refuses.
    func makeConnection(_ channel: any Channel) throws -> HTTPConnection {
        guard let loop = loops[ObjectIdentifier(channel.eventLoop)] else { throw ChannelError.operationUnsupported }
        let id = lastID.wrappingAdd(1, ordering: .relaxed).newValue
        let isRefused = openConnections.increment() > limit
        return HTTPConnection(id: id, loop: loop, count: openConnections, refused: isRefused)
    }

    /// Succeeds on `eventLoop` when all loops are without connections.
    func drain(within deadline: TimeAmount, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let drained = loops.values.map { $0.drain(within: deadline) }
        return EventLoopFuture.andAllSucceed(drained, on: eventLoop)
    }
}

/// How many connections are open, on whatever loop.
final class ConnectionCount: Sendable {
    private let open = Atomic<Int>(0)

    var value: Int { open.load(ordering: .relaxed) }

    /// One more; gives the new number.
    func increment() -> Int { open.wrappingAdd(1, ordering: .relaxed).newValue }

    func decrement() { open.wrappingSubtract(1, ordering: .relaxed) }
}
