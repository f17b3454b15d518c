import ContainerServer
import DeviceLog
import Logging
import NIOCore
import NIOPosix
import ObjectServer
import Ring
import StorageWire
import Synchronization

@testable import Proxy

/// The whole store in one process: devices in memory, each on a node of its own that can be made to fail, and proxies.
final class TestCluster: @unchecked Sendable {
    // Unchecked: set up in `init`, after that each part is used as its own rules say.
    let nodes: [FaultyNode]
    let cluster: Cluster
    let eventLoop: any EventLoop
    private let group: MultiThreadedEventLoopGroup
    private let workers: NIOThreadPool
    private let logs: [DeviceLog]
    private let containers: [ContainerServer]
    private let directory = Directory()
    private var proxies: [NIOLoopBound<ProxyLoop>] = []

    /// Three quick replicas of everything.
    static let limits = {
        var limits = StoreLimits()
        limits.inlineBody = 4 << 10
        limits.writeTimeout = .seconds(3)
        limits.commitTimeout = .seconds(3)
        limits.readTimeout = .seconds(3)
        limits.sweepInterval = .milliseconds(10)
        limits.uploadWindow = 64 << 10
        limits.uploadStall = .milliseconds(200)
        return limits
    }()

    /// - Parameter skews: for each proxy how far its clock is ahead, in ticks of 10 microseconds.
    init(devices: Int = 3, skews: [Int] = [0], limits: StoreLimits = TestCluster.limits) async throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
        workers = NIOThreadPool(numberOfThreads: 2)
        workers.start()
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        var logs: [DeviceLog] = []
        var nodes: [FaultyNode] = []
        var servers: [ContainerServer] = []
        for device in 0..<devices {
            let log = try DeviceLog.open(
                directory: "/device", identity: DeviceIdentity(clusterID: "test", deviceID: device),
                fileSystem: MemoryFileSystem(capacity: 1 << 30), configuration: configuration, logger: logger)
            logs.append(log)
            let sinks = EventLoopSinks()
            let id = UInt16(device)
            let objects = ObjectServer(
                devices: [id: log], nodes: directory, workers: workers, sinks: sinks, logger: logger)
            let containers = ContainerServer(devices: [id: log], workers: workers, sinks: sinks, logger: logger)
            nodes.append(FaultyNode(LocalNode(handler: BothServers(objects, containers))))
            servers.append(containers)
        }
        self.logs = logs
        containers = servers
        self.nodes = nodes
        directory.set(nodes)
        cluster = Cluster(
            hasher: PathHasher(prefix: [], suffix: Array("test".utf8)), accounts: try Self.ring(devices, seed: 1),
            containers: try Self.ring(devices, seed: 2), objects: [0: try Self.ring(devices, seed: 3)],
            policies: [StoragePolicy(index: 0, name: "default", isDefault: true)], nodes: directory)
        for (index, skew) in skews.enumerated() {
            let timestamps = TimestampSource(tieBreak: UInt64(index)) { Clock.ticks(skew: skew) }
            let (cluster, eventLoop, workers) = (cluster, eventLoop, workers)
            proxies.append(
                try await eventLoop.submit {
                    let proxy = ProxyLoop(
                        eventLoop: eventLoop, cluster: cluster, timestamps: timestamps, workers: workers,
                        limits: limits)
                    proxy.start()
                    return NIOLoopBound(proxy, eventLoop: eventLoop)
                }.get())
        }
    }

    private static func ring(_ devices: Int, seed: UInt64) throws -> Ring {
        try builder(devices, seed: seed).ring()
    }

    private static func builder(_ devices: Int, seed: UInt64) throws -> RingBuilder {
        var builder = try RingBuilder(partPower: 5, replicas: 3, minPartHours: 0)
        for device in 0..<devices {
            try builder.add(
                RingDevice(zone: device, ip: "10.0.0.\(device)", port: 1, device: "d\(device)", weight: 1))
        }
        _ = try builder.rebalance(now: 0, seed: seed)
        return builder
    }

    /// Gives all proxies the rings after a device was drained, while the data stays where it is.
    func drain(device: Int) async throws {
        func ring(seed: UInt64) throws -> Ring {
            var builder = try Self.builder(nodes.count, seed: seed)
            try builder.setWeight(0, of: device)
            try builder.rebalance(now: 1, seed: seed)
            return builder.ring()
        }
        let drained = Cluster(
            hasher: cluster.hasher, accounts: try ring(seed: 1), containers: try ring(seed: 2),
            objects: [0: try ring(seed: 3)], policies: cluster.policies, nodes: directory)
        let proxies = proxies
        try await eventLoop.submit { for proxy in proxies { proxy.value.cluster = drained } }.get()
    }

    /// The reaper of the node that has a device; it looks at two accounts at a time.
    func reaper(_ device: UInt16, delay: Int64 = 0) -> AccountReaper {
        let (server, cluster, eventLoop) = (containers[Int(device)], cluster, eventLoop)
        return AccountReaper(
            eventLoop: eventLoop, workers: workers, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            delay: delay, timestamps: TimestampSource(tieBreak: 99) { Clock.ticks(skew: 0) }, limits: Self.limits,
            surroundings: AccountReaper.Surroundings(
                devices: { [device] },
                deleted: { server.deletedAccounts(on: $0, from: $1, limit: 2, eventLoop: eventLoop) },
                cluster: { cluster }))
    }

    func stop() async throws {
        let proxies = proxies
        try await eventLoop.submit { for proxy in proxies { proxy.value.stop() } }.get()
        for log in logs { log.close() }
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    /// All devices are well again.
    func heal() { for node in nodes { node.fault = nil } }

    /// Runs an operation on the event loop until it has called back.
    func run<Result: Sendable>(
        proxy: Int = 0, _ body: @escaping @Sendable (ProxyLoop, @escaping (Result) -> Void) -> Void
    ) async -> Result {
        let bound = proxies[proxy]
        return await withCheckedContinuation { continuation in
            eventLoop.execute { body(bound.value) { continuation.resume(returning: $0) } }
        }
    }

    private final class Directory: NodeDirectory {
        private let nodes = Mutex<[FaultyNode]>([])

        func set(_ nodes: [FaultyNode]) { self.nodes.withLock { $0 = nodes } }

        func node(ofDevice device: UInt16) -> (any StorageNode)? {
            nodes.withLock { Int(device) < $0.count ? $0[Int(device)] : nil }
        }
    }
}

private enum Clock {
    private static let start = ContinuousClock.now

    static func ticks(skew: Int) -> UInt64 {
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        return UInt64(1_700_000_000 * 100_000 + Int(seconds) * 100_000 + Int(attoseconds / 10_000_000_000_000) + skew)
    }
}

/// Hands each request to the server that it is for.
private final class BothServers: StorageHandler {
    private let objects: ObjectServer
    private let containers: ContainerServer

    init(_ objects: ObjectServer, _ containers: ContainerServer) {
        self.objects = objects
        self.containers = containers
    }

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .verifyObject, .replication(.digests), .replication(.versions), .replication(.fetch),
            .replication(.objects), .replication(.range), .replication(.passes), .replication(.reclaim):
            objects.handle(request, call: call)
        case .putRow, .updateTable, .deleteTable, .deleteAccount, .readTable, .listTable, .status, .workers, .setWorker,
            .replication(.tables), .replication(.rows), .replication(.fetchTables), .replication(.head),
            .replication(.list),
            .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap, .program, .users:
            containers.handle(request, call: call)
        }
    }

    func ended(_ call: ServerCall) { objects.ended(call) }
}
