import Access
import Daemon
import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Proxy
import Ring
import StorageWire

/// The listener for clients and what answers behind it.
final class ProxyAssembly: Sendable {
    let listener: HTTPListener

    init(
        directory: ClusterDirectory, identity: ClusterIdentity, rings: ClusterRings, nodes: any NodeDirectory,
        listen: String, port: Int, group: MultiThreadedEventLoopGroup, workers: NIOThreadPool,
        registry: MetricsRegistry, logger: Logger
    ) throws {
        let clock = WallClock.system
        let cluster = Cluster(
            hasher: rings.hasher, accounts: rings.account, containers: rings.container, objects: [0: rings.object],
            policies: [StoragePolicy(index: 0, name: "Policy-0", isDefault: true)], nodes: nodes)
        let users = try UserDirectory(
            store: directory.users(identity), clusterKey: identity.accessKey, now: UInt64(clock.seconds))
        let timestamps = TimestampSource(tieBreak: try RandomBytes.makeUInt64()) { clock.ticks }
        let api = SwiftAPI(
            cluster: cluster, users: users, constraints: Constraints(), metrics: try ProxyMetrics(registry: registry),
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
        let application = SwiftApplication(api: api, loops: loops) { path in
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

    /// Lets running requests end: with closing the devices the whole stop takes 30 seconds at most.
    func drain() {
        try? listener.drain(within: .seconds(28)).wait()
    }
}
