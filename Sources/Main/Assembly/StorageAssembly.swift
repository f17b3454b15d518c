import Access
import ClusterMap
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
    private let clusterID: String
    private let rings: CurrentRings
    private let logger: Logger
    private let open: Mutex<Open>
    private let updater: Updater
    private let reporter: AccountReporter
    private let replicator: ObjectReplicator
    private let tableReplicator: TableReplicator
    private let expirer: Expirer
    private let reaper: AccountReaper
    private let registry: WorkerRegistry
    private let auditor: Auditor

    private struct Open {
        var devices: [Device] = []
        var logs: [UInt16: DeviceLog] = [:]
        var compactors: [UInt16: WorkerControl] = [:]

        /// Adds devices that were opened.
        mutating func add(_ devices: [Device], _ opened: Opened) {
            self.devices += devices
            logs.merge(opened.logs) { $1 }
            compactors.merge(opened.compactors) { $1 }
        }
    }

    private struct Opened {
        var logs: [UInt16: DeviceLog] = [:]
        var compactors: [UInt16: WorkerControl] = [:]
        var failure: CommandError?
    }

    struct Device: Equatable, Sendable {
        var id: UInt16
        var name: String
        var directory: String

        var isEmpty: Bool { access(directory + "/device.json", F_OK) != 0 }
    }

    /// Opens all devices at once: each recovers on a thread of its own.
    ///
    /// - Parameters:
    ///   - directory: of this process; what operators change about its workers is kept there.
    ///   - before: the rings that the devices were placed in last, if that is known.
    ///   - isFounding: whether empty devices are those of a new cluster; else they join others that have data.
    init(
        devices: [Device], directory: ClusterDirectory, clusterID: String, rings: CurrentRings,
        nodes: any NodeDirectory, group: any EventLoopGroup, workers: NIOThreadPool,
        replication: ReplicationTimes, isFounding: Bool, before: ClusterRings? = nil, logger: Logger
    ) throws {
        Self.warnOfEmpty(devices, logger)
        registry = try WorkerSettingsFile(directory).registry()
        let opened = try Self.open(devices, clusterID: clusterID, isFounding: isFounding, registry, logger: logger)
        let logs = opened.logs
        try Self.place(logs, in: rings.now, after: before)
        self.clusterID = clusterID
        self.rings = rings
        self.logger = logger
        var all = Open()
        all.add(devices, opened)
        open = Mutex(all)
        let sinks = EventLoopSinks()
        let objects = ObjectServer(devices: logs, nodes: nodes, workers: workers, sinks: sinks, logger: logger)
        let containers = ContainerServer(devices: logs, workers: workers, sinks: sinks, logger: logger)
        handler = NodeHandler(
            objects: objects, containers: containers, workers: NodeWorkers(registry, threads: workers), logs: logs,
            names: Self.names(devices), ringsVersion: { rings.now.version })
        updater = Updater(
            server: objects, eventLoop: group.next(), logger: logger,
            rowTarget: { rings.now.rowTarget(of: $0, onDevice: $1) },
            replicas: { rings.now.replicas(of: $0, container: $1) })
        replicator = ObjectReplicator(
            server: objects, eventLoop: group.next(), logger: logger, interval: replication.interval,
            reclaimAfter: replication.reclaimAfter, now: { Timestamp(ticks: WallClock.system.ticks) },
            ringsVersion: { rings.now.version }
        ) { [0: rings.now.object] }
        tableReplicator = TableReplicator(
            server: containers, nodes: nodes, eventLoop: group.next(), logger: logger, interval: replication.interval,
            now: { Timestamp(ticks: WallClock.system.ticks) }, ringsVersion: { rings.now.version }
        ) {
            let rings = rings.now
            return [.account: rings.account, .container: rings.container]
        }
        expirer = Expirer(
            server: objects, eventLoop: group.next(), logger: logger, interval: replication.interval,
            now: { WallClock.system.seconds }, rings: { [0: rings.now.object] },
            rowTarget: { rings.now.rowTarget(of: $0, onDevice: $1) },
            replicas: { rings.now.replicas(of: $0, container: $1) })
        reaper = try Self.reaper(
            of: containers, rings, nodes, on: group.next(), workers: workers, replication, logger: logger)
        reporter = AccountReporter(server: containers, nodes: nodes, eventLoop: group.next(), logger: logger) {
            rings.now.accountTarget(of: $0, table: $1)
        }
        let replicator = replicator
        auditor = Auditor(
            devices: Self.audited(all), logger: logger,
            repair: { device, policy, hash in
                replicator.repair(ObjectKey(policy: policy, hash: hash), on: device)
            })
        registry.add(auditor.control)
        registry.add(updater.control)
        registry.add(replicator.control)
        registry.add(tableReplicator.control)
        handler.replicators.withLock { [tableReplicator] in
            $0 = Replicators(objects: replicator, tables: tableReplicator)
        }
        registry.add(expirer.control)
        registry.add(reaper.control)
    }

    private static func reaper(
        of containers: ContainerServer, _ rings: CurrentRings, _ nodes: any NodeDirectory, on eventLoop: any EventLoop,
        workers: NIOThreadPool, _ times: ReplicationTimes, logger: Logger
    ) throws -> AccountReaper {
        // Accounts of one page; few are deleted and not empty.
        let limit = 64
        return AccountReaper(
            eventLoop: eventLoop, workers: workers, logger: logger, interval: times.interval,
            delay: times.delayReaping,
            timestamps: TimestampSource(tieBreak: try RandomBytes.makeUInt64()) { WallClock.system.ticks },
            surroundings: AccountReaper.Surroundings(
                devices: { Array(containers.devices.keys) },
                deleted: { containers.deletedAccounts(on: $0, from: $1, limit: limit, eventLoop: eventLoop) },
                cluster: { rings.now.cluster(nodes) }))
    }

    func register(on metrics: MetricsRegistry) throws {
        try registry.register(on: metrics)
        try registerAudit(on: metrics)
    }

    /// Adds the counters of devices that have none yet.
    func registerAudit(on metrics: MetricsRegistry) throws { try auditor.register(on: metrics) }

    /// - Returns: see `Updater.start`.
    @discardableResult
    func start() throws -> EventLoopFuture<Void> {
        reporter.start()
        replicator.start()
        tableReplicator.start()
        expirer.start()
        reaper.start()
        try auditor.start()
        return updater.start()
    }

    /// Commits what is queued and closes the devices. Blocks.
    func close() {
        replicator.stop()
        tableReplicator.stop()
        expirer.stop()
        reaper.stop()
        registry.stop()
        auditor.stop()
        updater.stop()
        reporter.stop()
        for log in open.withLock({ Array($0.logs.values) }) { log.close() }
    }

    /// Opens what has come and closes what has gone, so that these devices are served. Blocks.
    ///
    /// - Throws: `CommandError` when a device can't be opened; the others are served all the same.
    func serve(_ devices: [Device]) throws {
        try open.withLock { open in
            let kept = open.devices.filter { devices.contains($0) }
            let gone = open
            open.devices = kept
            open.logs = gone.logs.filter { id, _ in kept.contains { $0.id == id } }
            open.compactors = gone.compactors.filter { open.logs[$0.key] != nil }
            // Nobody may find a device that is being closed.
            use(open)
            for (id, log) in gone.logs where open.logs[id] == nil {
                // One that an operator holds would hold the closing too.
                if let compactor = gone.compactors[id] { registry.remove(compactor) }
                log.close()
            }
            var failure: (any Error)?
            for device in devices where !kept.contains(device) {
                let opened: Opened
                do {
                    // It comes to others that have data.
                    opened = try Self.open([device], clusterID: clusterID, isFounding: false, registry, logger: logger)
                } catch {
                    failure = error
                    continue
                }
                open.add([device], opened)
                use(open)
                logger.notice("A device is served", metadata: ["device": "\(device.name)", "id": "\(device.id)"])
            }
            if let failure { throw failure }
        }
    }

    private func use(_ open: Open) {
        handler.use(open.logs, names: Self.names(open.devices))
        auditor.use(Self.audited(open))
    }

    private static func audited(_ open: Open) -> [Auditor.Device] {
        open.devices.compactMap { device in
            open.logs[device.id].map { Auditor.Device(id: device.id, name: device.name, log: $0) }
        }
    }

    private static func names(_ devices: [Device]) -> [UInt16: String] {
        Dictionary(uniqueKeysWithValues: devices.map { ($0.id, $0.name) })
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

    /// Takes over other rings: the devices are told what is their own now before anybody asks them, and the replicators begin.
    func use(_ new: ClusterRings) throws {
        let logs = open.withLock { $0.logs }
        try Self.place(logs, in: new, after: rings.now)
        rings.set(new)
        replicator.runPass()
        tableReplicator.runPass()
    }

    /// Tells the devices to which partitions they belong.
    ///
    /// - Parameter before: the rings until now: in what is new to it a device is behind.
    private static func place(_ logs: [UInt16: DeviceLog], in rings: ClusterRings, after before: ClusterRings?) throws {
        for (index, (space, ring)) in rings.spaces.enumerated() {
            let all = ring.partitions(of: Set(logs.keys))
            // Of the same version there is nothing new, and no walk over the ring to find that out.
            let old = before.map { $0.spaces[index].ring }.flatMap { $0.version == ring.version ? nil : $0 }
            let held = old.map { $0.partitions(of: Set(logs.keys)) } ?? [:]
            for (device, log) in logs {
                var new: [UInt32: UInt16?] = [:]
                for partition in all[device] ?? [] where old != nil && !(held[device]?.contains(partition) ?? false) {
                    new[partition] = .some(
                        ring.formerHolder(of: device, Int(partition), in: rings.previousSpaces?[index]))
                }
                try log.place(space, partPower: ring.partPower, new: new, all: all[device] ?? [])
            }
        }
        for log in logs.values { try log.placed() }
    }

    /// Bytes of old segments per second and device. Clients wait for the same commits, and garbage does no harm until the disk is nearly full: then the
    /// pace does not count.
    private static let compactionPace: Int64 = 4 << 20

    private static func open(
        _ devices: [Device], clusterID: String, isFounding: Bool, _ registry: WorkerRegistry, logger: Logger
    ) throws -> Opened {
        let opened = Mutex(Opened())
        var threads: [ServiceThread] = []
        for device in devices {
            let compactor = WorkerControl(name: "compactor-\(device.name)", unit: .bytes, pace: Self.compactionPace)
            registry.add(compactor)
            opened.withLock { $0.compactors[device.id] = compactor }
            var configuration = Configuration()
            configuration.compactionSteering = CompactionSteering(
                begin: { compactor.beginPass(total: $0) }, advance: { compactor.advance($0, isHurried: $1) },
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
                        let reason = if case DeviceLogError.refused(let reason) = error { reason } else { "\(error)" }
                        opened.withLock {
                            $0.failure = CommandError("device \(device.name) (\(device.directory)): \(reason)")
                        }
                    }
                })
        }
        for thread in threads { thread.join() }
        return try opened.withLock { state in
            if let failure = state.failure {
                for compactor in state.compactors.values { registry.remove(compactor) }
                for log in state.logs.values { log.close() }
                throw failure
            }
            return state
        }
    }
}

/// When the replicators do what.
struct ReplicationTimes: Sendable {
    /// From the end of a pass to the next one.
    var interval: TimeAmount
    /// How old tombstones are, at least, when they are given up.
    var reclaimAfter: TimeAmount
    /// Seconds from the deletion of an account until its data is removed.
    var delayReaping: Int64
}

/// What moves data between the nodes.
struct Replicators: Sendable {
    var objects: ObjectReplicator
    var tables: TableReplicator

    private var isPaused: Bool { objects.control.settings.isPaused || tables.control.settings.isPaused }

    /// The version of the rings for which both have left nothing to do for a device. What an operator holds settles nothing: he wants no partition to
    /// move.
    func settledVersion(_ device: UInt16) -> UInt64? {
        guard !isPaused, let objects = objects.remainder(of: device).settledVersion,
            let tables = tables.remainder(of: device).settledVersion
        else { return nil }
        return min(objects, tables)
    }
}

/// Hands each request to the server that it is for.
final class NodeHandler: StorageHandler {
    /// Set once they are there.
    let replicators = Mutex<Replicators?>(nil)
    /// The oldest rings that an operation of the proxy uses; nil without a proxy.
    let proxyRings = Mutex<(@Sendable () -> UInt64)?>(nil)
    private let ringsVersion: @Sendable () -> UInt64
    private let objects: ObjectServer
    private let containers: ContainerServer
    private let workers: NodeWorkers
    private let devices: Mutex<(logs: [UInt16: DeviceLog], names: [UInt16: String])>

    init(
        objects: ObjectServer, containers: ContainerServer, workers: NodeWorkers, logs: [UInt16: DeviceLog],
        names: [UInt16: String], ringsVersion: @escaping @Sendable () -> UInt64
    ) {
        self.ringsVersion = ringsVersion
        self.objects = objects
        self.containers = containers
        self.workers = workers
        devices = Mutex((logs, names))
    }

    /// Serves other devices from now on.
    func use(_ logs: [UInt16: DeviceLog], names: [UInt16: String]) {
        devices.withLock { $0 = (logs, names) }
        objects.use(devices: logs)
        containers.use(devices: logs)
    }

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .verifyObject:
            objects.handle(request, call: call)
        case .replication(.digests), .replication(.versions), .replication(.fetch),
            .replication(.objects), .replication(.range), .replication(.passes), .replication(.reclaim):
            objects.handle(request, call: call)
        case .putRow, .updateTable, .deleteTable, .deleteAccount, .readTable, .listTable, .replication(.tables),
            .replication(.rows), .replication(.fetchTables), .replication(.head), .replication(.list):
            containers.handle(request, call: call)
        case .status:
            call.reply(.status(status()))
        case .program: call.reply(.program(.own))
        case .workers: workers.list(call)
        case .setWorker(let message): workers.set(message, call)
        case .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap, .users:
            call.reply(.failed(StorageFailure(.refused, "the rings of this node are files: it has no map")))
        }
    }

    func ended(_ call: ServerCall) { objects.ended(call) }

    func status() -> NodeStatus {
        let rings = ringsVersion()
        let proxy = proxyRings.withLock { $0 }
        return NodeStatus(
            ringsVersion: min(rings, proxy?() ?? rings),
            devices: devices.withLock { $0.logs.keys.sorted() }.map { deviceStatus($0) })
    }

    func deviceStatus(_ id: UInt16) -> DeviceStatus {
        let (log, name) = devices.withLock { ($0.logs[id], $0.names[id]) }
        let statistics = log?.statistics() ?? DeviceStatistics()
        let replicators = replicators.withLock { $0 }
        let left = replicators?.objects.remainder(of: id)
        return DeviceStatus(
            device: id, name: name ?? "",
            state: statistics.isReadOnly
                ? "read-only" : statistics.isFull ? "full" : log?.isBehind == true ? "behind" : "ok",
            totalBytes: statistics.totalBytes, freeBytes: statistics.freeBytes, objects: statistics.objects,
            tombstones: statistics.tombstones, rows: statistics.rows, liveBytes: statistics.liveBytes,
            garbageBytes: statistics.garbageBytes, queueDepth: Int64(statistics.queuedWrites),
            pendingUpdates: Int64((try? log?.pendingUpdates(limit: 10_000).count) ?? 0),
            quarantined: statistics.quarantined, commits: Int64(clamping: statistics.commits),
            committedRecords: Int64(clamping: statistics.committedRecords),
            behindPartitions: Int64(log?.behindCount ?? 0), misplacedObjects: left?.misplacedObjects ?? 0,
            misplacedBytes: left?.misplacedBytes ?? 0,
            misplacedTables: replicators?.tables.remainder(of: id).misplacedTables ?? 0,
            settledVersion: replicators?.settledVersion(id).map { Int64(clamping: $0) } ?? -1)
    }
}

/// The rings of a cluster, and what follows from them for a node's own workers.
struct ClusterRings: Sendable {
    /// Of the cluster map that they are from; 0 for files.
    var version: UInt64 = 0
    var hasher: PathHasher
    var account: Ring
    var container: Ring
    var object: Ring
    /// The rings before the last change.
    var previous: PerRing<Ring>? = nil

    /// The rings by what of a device they place.
    var spaces: [(space: PartitionSpace, ring: Ring)] {
        [(.accounts, account), (.containers, container), (.objects(0), object)]
    }

    /// In the same order, the rings before the changes whose data may still be under way; each partition has moved once at most since them.
    fileprivate var previousSpaces: [Ring]? {
        previous.map { [$0.account, $0.container, $0.object] }
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
    /// The device that had a device's place in a partition in another ring, and has left the partition.
    fileprivate func formerHolder(of device: UInt16, _ partition: Int, in old: Ring?) -> UInt16? {
        guard let old, old.partPower == partPower else { return nil }
        for replica in 0..<Int(replicaCount.rounded(.up))
        where self.device(ofReplica: replica, of: partition) == Int(device) {
            guard let holder = old.device(ofReplica: replica, of: partition), holder != Int(device),
                !primaries(of: partition).contains(holder)
            else { continue }
            return UInt16(truncatingIfNeeded: holder)
        }
        return nil
    }

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

/// The rings as they are now, for workers that outlive them.
final class CurrentRings: Sendable {
    private let rings: Mutex<ClusterRings>

    init(_ rings: ClusterRings) { self.rings = Mutex(rings) }

    var now: ClusterRings { rings.withLock { $0 } }

    func set(_ new: ClusterRings) { rings.withLock { $0 = new } }
}

/// Devices by the node that has them. The table is replaced when the cluster changes.
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
