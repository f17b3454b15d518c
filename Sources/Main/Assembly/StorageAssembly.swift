import ContainerServer
import Daemon
import DeviceLog
import Glibc
import Logging
import NIOCore
import NIOPosix
import ObjectServer
import Proxy
import Ring
import StorageWire
import Synchronization

/// The devices of this node and everything that serves them.
final class StorageAssembly: Sendable {
    let handler: NodeHandler
    private let logs: [UInt16: DeviceLog]
    private let updater: Updater
    private let reporter: AccountReporter
    private let replicator: ObjectReplicator
    private let tableReplicator: TableReplicator
    private let registry: WorkerRegistry
    private let auditor: Auditor

    struct Device: Sendable {
        var id: UInt16
        var name: String
        var directory: String

        var isEmpty: Bool { access(directory + "/device.json", F_OK) != 0 }
    }

    /// Opens all devices at once: each recovers on a thread of its own.
    ///
    /// - Parameters:
    ///   - directory: of this process; what operators change about its workers is kept there.
    ///   - isFounding: whether empty devices are those of a new cluster; else they join others that have data.
    init(
        devices: [Device], directory: ClusterDirectory, clusterID: String, rings: ClusterRings,
        nodes: any NodeDirectory, group: any EventLoopGroup, workers: NIOThreadPool,
        replicateEvery interval: TimeAmount, isFounding: Bool, logger: Logger
    ) throws {
        Self.warnOfEmpty(devices, logger)
        registry = try WorkerSettingsFile(directory).registry()
        let logs = try Self.open(devices, clusterID: clusterID, isFounding: isFounding, registry, logger: logger)
        self.logs = logs
        try Self.place(logs, in: rings, after: nil)
        let sinks = EventLoopSinks()
        let objects = ObjectServer(devices: logs, nodes: nodes, workers: workers, sinks: sinks, logger: logger)
        let containers = ContainerServer(devices: logs, workers: workers, sinks: sinks, logger: logger)
        handler = NodeHandler(
            objects: objects, containers: containers, workers: NodeWorkers(registry, threads: workers), logs: logs,
            names: Dictionary(uniqueKeysWithValues: devices.map { ($0.id, $0.name) }))
        updater = Updater(
            server: objects, eventLoop: group.next(), logger: logger,
            rowTarget: { rings.rowTarget(of: $0, onDevice: $1) }, replicas: { rings.replicas(of: $0, container: $1) })
        replicator = ObjectReplicator(server: objects, eventLoop: group.next(), logger: logger, interval: interval) {
            [0: rings.object]
        }
        tableReplicator = TableReplicator(
            server: containers, nodes: nodes, eventLoop: group.next(), logger: logger, interval: interval,
            now: { Timestamp(ticks: WallClock.system.ticks) }
        ) { [.account: rings.account, .container: rings.container] }
        reporter = AccountReporter(server: containers, nodes: nodes, eventLoop: group.next(), logger: logger) {
            rings.accountTarget(of: $0, table: $1)
        }
        let replicator = replicator
        auditor = Auditor(
            devices: devices.compactMap { device in
                logs[device.id].map { Auditor.Device(id: device.id, name: device.name, log: $0) }
            }, logger: logger,
            repair: { device, policy, hash in
                replicator.repair(ObjectKey(policy: policy, hash: hash), on: device)
            })
        registry.add(auditor.control)
        registry.add(updater.control)
        registry.add(replicator.control)
        registry.add(tableReplicator.control)
    }

    func register(on metrics: MetricsRegistry) throws {
        try registry.register(on: metrics)
        try auditor.register(on: metrics)
    }

    /// - Returns: see `Updater.start`.
    @discardableResult
    func start() throws -> EventLoopFuture<Void> {
        reporter.start()
        replicator.start()
        tableReplicator.start()
        try auditor.start()
        return updater.start()
    }

    /// Commits what is queued and closes the devices. Blocks.
    func close() {
        replicator.stop()
        tableReplicator.stop()
        registry.stop()
        auditor.stop()
        updater.stop()
        reporter.stop()
        for log in logs.values { log.close() }
    }

    /// A device without its file beside others that have theirs is new, or its disk is not mounted.
    private static func warnOfEmpty(_ devices: [Device], _ logger: Logger) {
        let empty = devices.filter(\.isEmpty)
        guard empty.count < devices.count else { return }
        for device in empty {
            logger.warning(
                "A device is empty and starts anew; is its disk mounted?",
                metadata: ["device": "\(device.name)", "directory": "\(device.directory)"])
        }
    }

    /// Tells the devices to which partitions they belong.
    ///
    /// - Parameter previous: the rings until now, when they change while the devices serve: in what is new to it a device is behind.
    static func place(_ logs: [UInt16: DeviceLog], in rings: ClusterRings, after previous: ClusterRings?) throws {
        let concerned = previous == nil ? logs.filter { $0.value.isBehind } : logs
        guard !concerned.isEmpty else { return }
        let old = previous?.spaces ?? []
        for (index, (space, ring)) in rings.spaces.enumerated() {
            let all = ring.partitions(of: Set(concerned.keys))
            let before = index < old.count ? old[index].ring.partitions(of: Set(concerned.keys)) : [:]
            for (device, log) in concerned {
                let partitions = all[device] ?? []
                let new = previous == nil ? [] : partitions.subtracting(before[device] ?? [])
                try log.place(space, partPower: ring.partPower, new: new, all: partitions)
            }
        }
        for log in concerned.values { try log.placed() }
    }

    private static func open(
        _ devices: [Device], clusterID: String, isFounding: Bool, _ registry: WorkerRegistry, logger: Logger
    ) throws -> [UInt16: DeviceLog] {
        let opened = Mutex<(logs: [UInt16: DeviceLog], failure: CommandError?)>(([:], nil))
        var threads: [ServiceThread] = []
        for device in devices {
            let compactor = WorkerControl(name: "compactor-\(device.name)", unit: .bytes)
            registry.add(compactor)
            var configuration = Configuration()
            configuration.compactionSteering = CompactionSteering(
                begin: { compactor.beginPass(total: $0) }, advance: { compactor.advance($0) },
                end: { compactor.endPass() })
            let steered = configuration
            threads.append(
                try ServiceThread(named: "open \(device.name)") {
                    do {
                        try ClusterDirectory.makeDirectory(device.directory)
                        let log = try DeviceLog.open(
                            directory: device.directory,
                            identity: DeviceIdentity(clusterID: clusterID, deviceID: Int(device.id)),
                            isNewcomer: !isFounding, configuration: steered, logger: logger)
                        opened.withLock { $0.logs[device.id] = log }
                    } catch {
                        opened.withLock {
                            $0.failure = CommandError("device \(device.name) (\(device.directory)): \(error)")
                        }
                    }
                })
        }
        for thread in threads { thread.join() }
        return try opened.withLock { state in
            if let failure = state.failure {
                registry.stop()
                for log in state.logs.values { log.close() }
                throw failure
            }
            return state.logs
        }
    }
}

/// Hands each request to the server that it is for.
final class NodeHandler: StorageHandler {
    private let objects: ObjectServer
    private let containers: ContainerServer
    private let workers: NodeWorkers
    private let logs: [UInt16: DeviceLog]
    private let names: [UInt16: String]

    init(
        objects: ObjectServer, containers: ContainerServer, workers: NodeWorkers, logs: [UInt16: DeviceLog],
        names: [UInt16: String]
    ) {
        self.objects = objects
        self.containers = containers
        self.workers = workers
        self.logs = logs
        self.names = names
    }

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .verifyObject:
            objects.handle(request, call: call)
        case .replication(.digests), .replication(.versions), .replication(.fetch):
            objects.handle(request, call: call)
        case .putRow, .updateTable, .deleteTable, .readTable, .listTable, .replication(.tables),
            .replication(.rows), .replication(.fetchTables), .replication(.head), .replication(.list):
            containers.handle(request, call: call)
        case .status:
            call.reply(.status(status()))
        case .workers: workers.list(call)
        case .setWorker(let message): workers.set(message, call)
        }
    }

    func ended(_ call: ServerCall) { objects.ended(call) }

    func status() -> NodeStatus {
        NodeStatus(devices: logs.keys.sorted().map { deviceStatus($0) })
    }

    func deviceStatus(_ id: UInt16) -> DeviceStatus {
        let log = logs[id]
        let statistics = log?.statistics() ?? DeviceStatistics()
        return DeviceStatus(
            device: id, name: names[id] ?? "",
            state: statistics.isReadOnly
                ? "read-only" : statistics.isFull ? "full" : log?.isBehind == true ? "behind" : "ok",
            totalBytes: statistics.totalBytes, freeBytes: statistics.freeBytes, objects: statistics.objects,
            tombstones: statistics.tombstones, rows: statistics.rows, liveBytes: statistics.liveBytes,
            garbageBytes: statistics.garbageBytes, queueDepth: Int64(statistics.queuedWrites),
            pendingUpdates: Int64((try? log?.pendingUpdates(limit: 10_000).count) ?? 0),
            quarantined: statistics.quarantined, commits: Int64(clamping: statistics.commits),
            committedRecords: Int64(clamping: statistics.committedRecords))
    }
}

/// The rings of a cluster, and what follows from them for a node's own workers.
struct ClusterRings: Sendable {
    var hasher: PathHasher
    var account: Ring
    var container: Ring
    var object: Ring

    /// The rings by what of a device they place.
    var spaces: [(space: PartitionSpace, ring: Ring)] {
        [(.accounts, account), (.containers, container), (.objects(0), object)]
    }

    /// The container replica that the object replica on a device tells of its writes: the one of the same index.
    func rowTarget(of head: ObjectHead, onDevice device: UInt16) -> RowTarget? {
        let hash = hasher.hash(account: head.account, container: head.container, object: head.object)
        let containerHash = hasher.hash(account: head.account, container: head.container)
        let containers = container.devices(of: containerHash)
        guard !containers.isEmpty else { return nil }
        let index = object.devices(of: hash).firstIndex(of: device) ?? 0
        return RowTarget(device: containers[index % containers.count], container: containerHash)
    }

    /// The replicas of an object, each with the container replica that it tells.
    func replicas(of hash: PathHash, container containerHash: PathHash) -> [ObjectReplica] {
        let containers = container.devices(of: containerHash)
        guard !containers.isEmpty else { return [] }
        return object.devices(of: hash).enumerated().map { index, device in
            ObjectReplica(device: device, container: containers[index % containers.count])
        }
    }

    /// The account replica that the container replica on a device reports to: the one of the same index.
    func accountTarget(of head: TableHead, table: TableAddress) -> TableAddress? {
        let hash = hasher.hash(account: head.account)
        let accounts = account.devices(of: hash)
        guard !accounts.isEmpty else { return nil }
        let index = container.devices(of: table.hash).firstIndex(of: table.device) ?? 0
        return TableAddress(device: accounts[index % accounts.count], kind: .account, hash: hash)
    }
}

extension Ring {
    /// The partitions of which some devices are primaries. A walk over the whole ring.
    fileprivate func partitions(of devices: Set<UInt16>) -> [UInt16: Set<UInt32>] {
        var partitions: [UInt16: Set<UInt32>] = [:]
        for partition in 0..<partitionCount {
            for device in primaries(of: partition).deviceIDs where devices.contains(device) {
                partitions[device, default: []].insert(UInt32(partition))
            }
        }
        return partitions
    }
}

/// Devices by the node that has them. The table is set once, when all parts of the process are there.
final class NodeTable: NodeDirectory {
    private let nodes = Mutex<[(any StorageNode)?]>([])

    func set(_ nodes: [UInt16: any StorageNode]) {
        let count = (nodes.keys.max().map { Int($0) } ?? -1) + 1
        var table = [(any StorageNode)?](repeating: nil, count: count)
        for (device, node) in nodes { table[Int(device)] = node }
        self.nodes.withLock { $0 = table }
    }

    func node(ofDevice device: UInt16) -> (any StorageNode)? {
        nodes.withLock { Int(device) < $0.count ? $0[Int(device)] : nil }
    }
}
