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
    private let logger: Logger
    private let open: Mutex<Open>
    private let updater: Updater
    private let reporter: AccountReporter

    private struct Open {
        var devices: [Device] = []
        var logs: [UInt16: DeviceLog] = [:]
    }

    struct Device: Equatable, Sendable {
        var id: UInt16
        var name: String
        var directory: String
    }

    /// Opens all devices at once: each recovers on a thread of its own.
    init(
        devices: [Device], clusterID: String, rings: CurrentRings, nodes: any NodeDirectory,
        group: any EventLoopGroup, workers: NIOThreadPool, logger: Logger
    ) throws {
        Self.warnOfEmpty(devices, logger)
        let logs = try Self.open(devices, clusterID: clusterID, logger: logger)
        self.clusterID = clusterID
        self.logger = logger
        open = Mutex(Open(devices: devices, logs: logs))
        let sinks = EventLoopSinks()
        let objects = ObjectServer(devices: logs, nodes: nodes, workers: workers, sinks: sinks, logger: logger)
        let containers = ContainerServer(devices: logs, workers: workers, sinks: sinks, logger: logger)
        handler = NodeHandler(
            objects: objects, containers: containers, logs: logs, names: Self.names(devices))
        updater = Updater(
            server: objects, eventLoop: group.next(), logger: logger,
            rowTarget: { rings.now.rowTarget(of: $0, onDevice: $1) },
            replicas: { rings.now.replicas(of: $0, container: $1) })
        reporter = AccountReporter(server: containers, nodes: nodes, eventLoop: group.next(), logger: logger) {
            rings.now.accountTarget(of: $0, table: $1)
        }
    }

    /// - Returns: see `Updater.start`.
    @discardableResult
    func start() -> EventLoopFuture<Void> {
        reporter.start()
        return updater.start()
    }

    /// Commits what is queued and closes the devices. Blocks.
    func close() {
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
            let gone = open.devices.filter { !kept.contains($0) }
            let leaving = gone.compactMap { open.logs[$0.id] }
            let logs = open.logs.filter { id, _ in kept.contains { $0.id == id } }
            // Nobody may find a device that is being closed.
            handler.use(logs, names: Self.names(kept))
            for log in leaving { log.close() }
            open = Open(devices: kept, logs: logs)
            var failure: (any Error)?
            for device in devices where !kept.contains(device) {
                let opened: [UInt16: DeviceLog]
                do { opened = try Self.open([device], clusterID: clusterID, logger: logger) } catch {
                    failure = error
                    continue
                }
                open.devices.append(device)
                open.logs.merge(opened) { $1 }
                handler.use(open.logs, names: Self.names(open.devices))
                logger.notice("A device is served", metadata: ["device": "\(device.name)", "id": "\(device.id)"])
            }
            if let failure { throw failure }
        }
    }

    private static func names(_ devices: [Device]) -> [UInt16: String] {
        Dictionary(uniqueKeysWithValues: devices.map { ($0.id, $0.name) })
    }

    /// A device without its file beside others that have theirs is new, or its disk is not mounted.
    private static func warnOfEmpty(_ devices: [Device], _ logger: Logger) {
        let empty = devices.filter { access($0.directory + "/device.json", F_OK) != 0 }
        guard empty.count < devices.count else { return }
        for device in empty {
            logger.warning(
                "A device is empty and starts anew; is its disk mounted?",
                metadata: ["device": "\(device.name)", "directory": "\(device.directory)"])
        }
    }

    private static func open(
        _ devices: [Device], clusterID: String, logger: Logger
    ) throws -> [UInt16: DeviceLog] {
        let opened = Mutex<(logs: [UInt16: DeviceLog], failure: CommandError?)>(([:], nil))
        var threads: [ServiceThread] = []
        for device in devices {
            threads.append(
                try ServiceThread(named: "open \(device.name)") {
                    do {
                        try ClusterDirectory.makeDirectory(device.directory)
                        let log = try DeviceLog.open(
                            directory: device.directory,
                            identity: DeviceIdentity(clusterID: clusterID, deviceID: Int(device.id)), logger: logger)
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
    private let devices: Mutex<(logs: [UInt16: DeviceLog], names: [UInt16: String])>

    init(objects: ObjectServer, containers: ContainerServer, logs: [UInt16: DeviceLog], names: [UInt16: String]) {
        self.objects = objects
        self.containers = containers
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
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject:
            objects.handle(request, call: call)
        case .putRow, .updateTable, .deleteTable, .readTable, .listTable:
            containers.handle(request, call: call)
        case .status:
            call.reply(.status(status()))
        case .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap:
            call.reply(.failed(StorageFailure(.refused, "the rings of this node are files: it has no map")))
        }
    }

    func ended(_ call: ServerCall) { objects.ended(call) }

    func status() -> NodeStatus {
        NodeStatus(devices: devices.withLock { $0.logs.keys.sorted() }.map { deviceStatus($0) })
    }

    func deviceStatus(_ id: UInt16) -> DeviceStatus {
        let (log, name) = devices.withLock { ($0.logs[id], $0.names[id]) }
        let statistics = log?.statistics() ?? DeviceStatistics()
        return DeviceStatus(
            device: id, name: name ?? "",
            state: statistics.isReadOnly ? "read-only" : statistics.isFull ? "full" : "ok",
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
    /// The rings before the last change.
    var previous: PerRing<Ring>? = nil

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
