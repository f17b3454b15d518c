import Access
import ClusterMap
import Daemon
import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Proxy
import Ring
import StorageWire
import Synchronization

/// The listener for clients and what answers behind it.
final class ProxyAssembly: Sendable {
    let listener: HTTPListener
    let users: UserDirectory
    /// The rings of today and those that operations under way began with.
    private let inUse: Mutex<[RingsInUse]>
    private let loops: [(eventLoop: any EventLoop, proxy: NIOLoopBound<ProxyLoop>)]

    init(
        directory: ClusterDirectory, identity: ClusterIdentity, rings: ClusterRings, nodes: any NodeDirectory,
        listen: String, port: Int, group: MultiThreadedEventLoopGroup, workers: NIOThreadPool,
        registry: MetricsRegistry, joins: JoinService? = nil, logger: Logger
    ) throws {
        let clock = WallClock.system
        let cluster = rings.cluster(nodes)
        inUse = Mutex([RingsInUse(cluster: cluster, version: rings.version)])
        users = try UserDirectory(
            store: directory.users(identity), clusterKey: identity.accessKey, now: UInt64(clock.seconds))
        let timestamps = TimestampSource(tieBreak: try RandomBytes.makeUInt64()) { clock.ticks }
        let api = SwiftAPI(
            cluster: rings.cluster(nodes), users: users, constraints: Constraints(),
            metrics: try ProxyMetrics(registry: registry),
            logger: logger, timestamps: timestamps, version: Ringfort.version,
            seed: (
                try RandomBytes.makeUInt64(), try RandomBytes.makeUInt64(), try RandomBytes.makeUInt64(),
                try RandomBytes.makeUInt64()
            ))
        let loops = try group.makeIterator().map { eventLoop in
            (
                eventLoop as any EventLoop,
                try eventLoop.submit {
                    let loop = ProxyLoop(
                        eventLoop: eventLoop, cluster: cluster, timestamps: timestamps, workers: workers,
                        limits: StoreLimits())
                    loop.start()
                    return NIOLoopBound(loop, eventLoop: eventLoop)
                }.wait()
            )
        }
        self.loops = loops.map { (eventLoop: $0.0, proxy: $0.1) }
        let application = SwiftApplication(
            api: api, loops: loops,
            internalHandler: joins.map { joins in { @Sendable head, exchange in joins.accept(head, exchange) } }
        ) { path in
            guard path == "/metrics" else { return nil }
            return ("text/plain; version=0.0.4; charset=utf-8", registry.render())
        }
        do {
            listener = try HTTPListener.bind(
                host: listen, port: port, group: group, application: application, logger: logger
            ).wait()
        } catch {
            throw CommandError("can't listen on \(listen):\(port): \(error). Is another server there? Try --port.")
        }
    }

    /// Works with other rings from now on; operations under way keep theirs. Returns when every event loop has them.
    func use(_ rings: ClusterRings, nodes: any NodeDirectory) {
        let cluster = rings.cluster(nodes)
        inUse.withLock { $0.append(RingsInUse(cluster: cluster, version: rings.version)) }
        for loop in loops {
            try? loop.eventLoop.submit { loop.proxy.value.cluster = cluster }.wait()
        }
    }

    /// The version of the oldest rings that an operation under way began with, or of the newest.
    var oldestRings: UInt64 {
        inUse.withLock { inUse in
            inUse.removeAll { $0.cluster == nil }
            return inUse.map(\.version).min() ?? 0
        }
    }

    /// Lets running requests end: with closing the devices the whole stop takes 30 seconds at most.
    func drain() {
        try? listener.drain(within: .seconds(28)).wait()
    }
}

/// Rings as long as anything uses them.
private struct RingsInUse {
    weak var cluster: Cluster?
    var version: UInt64
}

extension ClusterRings {
    /// The rings as the proxy wants them.
    func cluster(_ nodes: any NodeDirectory) -> Cluster {
        Cluster(
            hasher: hasher, accounts: account, containers: container, objects: [0: object],
            policies: [StoragePolicy(index: 0, name: "Policy-0", isDefault: true)], nodes: nodes)
    }
}
