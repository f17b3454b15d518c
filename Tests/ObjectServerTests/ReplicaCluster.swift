import DeviceLog
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ObjectServer

/// Some nodes in one process, each with one device in memory, and a ring over them. Replication passes are run by hand.
final class ReplicaCluster: Sendable {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    let logs: [UInt16: DeviceLog]
    let files: [UInt16: FaultyFileSystem]
    let replicators: [UInt16: ObjectReplicator]
    private let servers: [UInt16: ObjectServer]
    private let nodes = Nodes()
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let workers = NIOThreadPool(numberOfThreads: 2)

    init(devices: Int, partPower: Int, newcomers: Set<UInt16> = [], policies: ClosedRange<UInt8> = 0...0) throws {
        workers.start()
        let ring = try Self.ring(Array(0..<devices), partPower: partPower)
        nodes.ring.withLock { $0 = ring }
        var logs: [UInt16: DeviceLog] = [:]
        var files: [UInt16: FaultyFileSystem] = [:]
        var replicators: [UInt16: ObjectReplicator] = [:]
        var servers: [UInt16: ObjectServer] = [:]
        for device in 0..<UInt16(devices) {
            let fileSystem = FaultyFileSystem(seed: UInt64(device))
            let log = try Self.open(device, fileSystem, isNewcomer: newcomers.contains(device))
            let partitions = (0..<ring.partitionCount).filter { ring.primaries(of: $0).contains(Int(device)) }
            for policy in policies {
                try log.place(.objects(policy), partPower: partPower, new: [:], all: Set(partitions.map { UInt32($0) }))
            }
            try log.placed()
            let server = ObjectServer(
                devices: [device: log], nodes: nodes, workers: workers, sinks: EventLoopSinks(), logger: Self.logger)
            nodes.all.withLock { $0[device] = LocalNode(handler: server) }
            logs[device] = log
            servers[device] = server
            files[device] = fileSystem
            replicators[device] = ObjectReplicator(
                server: server, eventLoop: group.next(), logger: Self.logger, interval: .hours(1),
                reclaimAfter: .milliseconds(60),
                now: { [nodes] in Timestamp(ticks: nodes.clock.load(ordering: .relaxed)) }
            ) { [nodes] in
                nodes.ring.withLock { ring in
                    ring.map { ring in Dictionary(uniqueKeysWithValues: policies.map { ($0, ring) }) } ?? [:]
                }
            }
        }
        self.logs = logs
        self.files = files
        self.replicators = replicators
        self.servers = servers
        for replicator in replicators.values { replicator.start(after: .hours(1)) }
    }

    /// A ring of three replicas over some devices, each a zone of its own.
    static func ring(_ devices: [Int], partPower: Int) throws -> Ring {
        var builder = try RingBuilder(partPower: partPower, replicas: 3, minPartHours: 0)
        for device in 0...(devices.max() ?? 0) {
            _ = try builder.add(
                RingDevice(
                    zone: device, ip: "127.0.0.1", port: 6200 + device, device: "d\(device)",
                    weight: devices.contains(device) ? 100 : 0))
        }
        _ = try builder.rebalance(now: 0, seed: 1)
        return builder.ring()
    }

    /// Where everything of the replicators happens.
    var eventLoop: any EventLoop { group.next() }

    func use(_ ring: Ring) { nodes.ring.withLock { $0 = ring } }
    var today: Ring { nodes.ring.withLock { $0! } }

    /// No message reaches a device that is away.
    func setAway(_ device: UInt16, _ isAway: Bool) {
        nodes.away.withLock { away in
            if isAway { away.insert(device) } else { away.remove(device) }
        }
    }

    func setClock(seconds: UInt64) { nodes.clock.store(seconds * 100_000, ordering: .relaxed) }

    /// One pass of every node.
    func runPasses() async throws {
        for (_, replicator) in replicators.sorted(by: { $0.key < $1.key }) { try await replicator.runPass().get() }
    }

    /// A comparison of all partitions of two devices by pages of so many versions.
    func comparison(
        _ own: UInt16, with other: UInt16, page: Int, bring: @escaping ([ReplicaVersion]) -> EventLoopFuture<[PathHash]>
    ) -> PairComparison {
        PairComparison(
            own: own, other: other, policy: 0, partPower: today.partPower, isSuccessor: false, log: logs[own]!,
            node: nodes.all.withLock { $0[other]! }, workers: workers, page: page, on: group.next(), bring: bring)
    }

    func run(_ comparison: PairComparison, _ partitions: [UInt32]) async throws {
        try await group.next().flatSubmit { comparison.run(partitions) }.get()
    }

    /// An expirer of a device's node, with passes of 30 seconds, that believes it is this second.
    func expirer(_ device: UInt16, at seconds: Int64) -> Expirer {
        Expirer(
            server: servers[device]!, eventLoop: group.next(), logger: Self.logger, now: { seconds },
            rings: { [nodes] in nodes.ring.withLock { $0.map { [0: $0] } ?? [:] } },
            rowTarget: { RowTarget(device: $1, container: PathHash(high: 0, low: 0)) },
            replicas: { [nodes] hash, _ in
                nodes.ring.withLock { $0!.primaries(of: hash).deviceIDs }.map {
                    ObjectReplica(device: $0, container: $0)
                }
            })
    }

    /// The answer of a device to anything.
    func ask(_ request: StorageRequest, on device: UInt16) async throws -> StorageReply {
        let loop = group.next()
        return try await loop.flatSubmit { [nodes] in
            nodes.all.withLock { $0[device]! }.ask(request, within: .seconds(5), on: loop)
        }.get()
    }

    /// The answer of a device to a read.
    func read(_ key: ObjectKey, on device: UInt16, _ wanted: ReadObject.Wanted) async throws -> StorageReply {
        let loop = group.next()
        let address = ObjectAddress(device: device, policy: key.policy, hash: key.hash)
        return try await loop.flatSubmit { [nodes] in
            nodes.all.withLock { $0[device]! }
                .ask(.readObject(ReadObject(address: address, wanted: wanted)), within: .seconds(5), on: loop)
        }.get()
    }

    func primaries(_ key: ObjectKey) -> [UInt16] { today.primaries(of: key.hash).deviceIDs }

    func version(_ key: ObjectKey, on device: UInt16) throws -> ObjectVersion { try logs[device]!.version(of: key) }

    func close() async throws {
        for replicator in replicators.values { replicator.stop() }
        for log in logs.values { log.close() }
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    private static func open(_ device: UInt16, _ files: FaultyFileSystem, isNewcomer: Bool) throws -> DeviceLog {
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        return try DeviceLog.open(
            directory: "/device", identity: DeviceIdentity(clusterID: "test", deviceID: Int(device)),
            isNewcomer: isNewcomer,
            fileSystem: files, configuration: configuration, logger: logger)
    }

    private final class Nodes: NodeDirectory {
        let all = Mutex<[UInt16: LocalNode]>([:])
        let away = Mutex<Set<UInt16>>([])
        let ring = Mutex<Ring?>(nil)
        /// What the nodes believe to be the time, in ticks: by that tombstones are old.
        let clock = Atomic<UInt64>(0)

        func node(ofDevice device: UInt16) -> (any StorageNode)? {
            away.withLock { $0.contains(device) } ? nil : all.withLock { $0[device] }
        }
    }
}
