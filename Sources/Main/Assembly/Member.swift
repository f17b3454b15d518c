import Access
import ClusterMap
import Daemon
import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// A node of a cluster as it runs: the map, the devices that the map gives it, the listener for other nodes and, with an API, the one for
/// clients. When the map changes, all of these follow without a restart.
final class Member: Sendable {
    let directory: ClusterDirectory
    let identity: ClusterIdentity
    let map: MapService
    private let door: MemberDoor
    private let listener: StorageServer
    private let nodes = NodeTable()
    private let running = Mutex<Running?>(nil)
    /// The version of the map that everything works with.
    private let followed = Mutex<UInt64>(0)
    private let logger: Logger

    private struct Running {
        var rings: CurrentRings
        var storage: StorageAssembly
        var metrics: DeviceMetrics
        var proxy: ProxyAssembly?
        var settler: Settler
        var users: UserService
    }

    /// Listens for other nodes. They can ask about the map already; devices come with `serve`.
    init(
        directory: ClusterDirectory, identity: ClusterIdentity, nodeID: String, places: MemberOptions.Places,
        process: ServerProcess
    ) throws {
        self.directory = directory
        self.identity = identity
        logger = process.logger
        let credentials = try identity.wireCredentials()
        map = try MapService(
            path: directory.file("cluster.map"), nodeID: nodeID, group: process.group, credentials: credentials,
            logger: process.logger)
        let door = MemberDoor(map: map)
        self.door = door
        let requiresEncryption = map.map?.encryptsLinks ?? false
        func listen(port: Int) throws -> StorageServer {
            try StorageServer.start(
                host: places.listen, port: port, group: process.group, handler: door, credentials: credentials,
                requiresEncryption: requiresEncryption, logger: process.logger
            ).wait()
        }
        do {
            listener = try listen(port: places.storagePort)
        } catch  where places.mayTakeAnyStoragePort && places.storagePort != 0 {
            listener = try listen(port: 0)
        } catch {
            throw CommandError(
                "can't listen on \(places.listen):\(places.storagePort) for other nodes: \(error). Is another server there? "
                    + "Try --storage-port.")
        }
    }

    /// The port for other nodes.
    var storagePort: Int { listener.port }

    var proxy: ProxyAssembly? { running.withLock { $0?.proxy } }

    /// The node of the map that this is.
    func node() throws -> MapNode {
        guard let node = map.map?.node(map.nodeID) else {
            throw CommandError(
                "this node is not in its cluster: join again with a token (`ringfort token create` on another node)")
        }
        return node
    }

    /// Opens the devices, lets clients in, and follows the map from now on.
    ///
    /// - Parameter isFounding: whether this start has made the cluster.
    func serve(
        _ places: MemberOptions.Places, replication: ReplicationTimes, isFounding: Bool, process: ServerProcess
    ) throws {
        let node = try node()
        guard let map = map.map else { return }
        try checkBuilders(map)
        let rings = CurrentRings(ClusterRings(map: map, hasher: identity.hasher))
        let devices = localDevices(map)
        let storage = try StorageAssembly(
            devices: devices, directory: directory, clusterID: identity.clusterID, rings: rings, nodes: nodes,
            group: process.group, workers: process.workers, replication: replication,
            isFounding: isFounding && devices.allSatisfy(\.isEmpty), before: lastRings() ?? rings.now.before,
            logger: process.logger)
        // After the devices have noted what is new to them in these.
        try writeRings(map)
        let local = LocalNode(handler: storage.handler)
        nodes.set(self.map.nodes(local: local))
        let users = try UserService(
            store: directory.users(identity), map: self.map, logger: process.logger)
        door.open(storage.handler, users: users)
        try storage.start().wait()
        let metrics = DeviceMetrics()
        try metrics.register(storage.handler, on: process.registry)
        try storage.register(on: process.registry)
        try LinkMetrics.register(listener, on: process.registry)
        listener.require(encryption: map.encryptsLinks)
        followed.withLock { $0 = map.version }
        var proxy: ProxyAssembly?
        if node.role.hasAPI {
            proxy = try ProxyAssembly(
                directory: directory, identity: identity, rings: rings.now, nodes: nodes, listen: places.listen,
                port: places.port, group: process.group, workers: process.workers, registry: process.registry,
                joins: JoinService(directory: directory, identity: identity, map: self.map, workers: process.workers),
                logger: process.logger)
        }
        if let proxy {
            storage.handler.proxyRings.withLock { $0 = { proxy.oldestRings } }
            users.onChange { proxy.users.use($0, version: $1) }
        }
        let settler = Settler(self.map, handler: storage.handler)
        running.withLock {
            $0 = Running(rings: rings, storage: storage, metrics: metrics, proxy: proxy, settler: settler, users: users)
        }
        let registry = process.registry
        self.map.onChange { [weak self] in self?.follow(local: local, registry: registry) }
        // A change between the assembly and now was not heard.
        follow(local: local, registry: registry)
        let apiPort = proxy.map { $0.listener.address.port ?? places.port } ?? 0
        settler.start()
        users.start()
        self.map.start(at: MapService.Address(host: places.host, storagePort: storagePort, apiPort: apiPort))
    }

    /// Takes over what the newest map says, unless that has been done.
    private func follow(local: LocalNode, registry: MetricsRegistry) {
        followed.withLock { version in
            guard let map = map.map, map.version > version, let running = running.withLock({ $0 }) else { return }
            version = map.version
            follow(map, running, local: local, registry: registry)
        }
    }

    private func follow(_ map: ClusterMap, _ running: Running, local: LocalNode, registry: MetricsRegistry) {
        listener.require(encryption: map.encryptsLinks)
        let rings = ClusterRings(map: map, hasher: identity.hasher)
        do {
            try running.storage.serve(localDevices(map))
            try running.metrics.register(running.storage.handler, on: registry)
            try running.storage.registerAudit(on: registry)
        } catch {
            logger.error("A device can't be served", metadata: ["error": "\(error)"])
        }
        nodes.set(self.map.nodes(local: local))
        do { try running.storage.use(rings) } catch {
            // Its partitions would count as complete: better that it answers for none of them.
            logger.critical(
                "The devices can't note what the new rings give them; the node stops", metadata: ["error": "\(error)"])
            kill(getpid(), SIGTERM)
            return
        }
        running.proxy?.use(rings, nodes: nodes)
        do { try writeRings(map) } catch {
            logger.error("The ring files can't be written", metadata: ["error": "\(error)"])
        }
    }

    /// The rings of the last run, in which the devices were placed; nil when one is missing.
    private func lastRings() -> ClusterRings? {
        guard let account = try? directory.ring("account"), let container = try? directory.ring("container"),
            let object = try? directory.ring("object")
        else { return nil }
        return ClusterRings(hasher: identity.hasher, account: account, container: container, object: object)
    }

    private func localDevices(_ map: ClusterMap) -> [StorageAssembly.Device] {
        map.devices(of: self.map.nodeID).map { device in
            StorageAssembly.Device(
                id: UInt16(truncatingIfNeeded: device.id), name: device.name,
                directory: device.path.hasPrefix("/") ? device.path : directory.file(device.path))
        }.sorted { $0.id < $1.id }
    }

    /// A builder that is newer than the map was changed by hand, and whoever did that expects it to count.
    private func checkBuilders(_ map: ClusterMap) throws {
        for (name, builder) in zip(PerRing<RingBuilder>.names, map.builders.all) {
            let path = directory.file("\(name).builder")
            guard let bytes = try AtomicFile.read(path, limit: RingFile.Limit.fileBytes) else { continue }
            let file: RingBuilder
            do { file = try BuilderFile.decode(bytes) } catch {
                logger.warning(
                    "A builder file is damaged; it is written again from the map",
                    metadata: ["file": "\(path)", "error": "\(error)"])
                continue
            }
            guard file.version <= builder.version else {
                throw CommandError(
                    "\(path) was changed by hand (version \(file.version), that of the cluster map is \(builder.version)), "
                        + "which has no effect on a running cluster: remove the file, and use `ringfort device` instead"
                )
            }
        }
    }

    /// Copies for `ringfort ring` and OpenStack's tools; the map is what counts.
    private func writeRings(_ map: ClusterMap) throws {
        for (name, builder) in zip(PerRing<RingBuilder>.names, map.builders.all) {
            try AtomicFile.write(BuilderFile.encode(builder), to: directory.file("\(name).builder"))
            try AtomicFile.write(RingFile.encode(builder.ring()), to: directory.file("\(name).ring.gz"))
        }
    }

    /// Lets running requests end, then closes everything.
    func close() {
        let running = running.withLock { $0 }
        running?.proxy?.drain()
        try? listener.close(within: .seconds(1)).wait()
        running?.users.close()
        map.close()
        running?.storage.close()
        unlink(directory.file("node.json"))
    }
}

/// Takes what other nodes ask to the map or, once they are open, to the devices and users.
final class MemberDoor: StorageHandler {
    private let map: MapService
    private let inside = Mutex<Inside?>(nil)

    private struct Inside {
        var devices: NodeHandler
        var users: UserService
    }

    init(map: MapService) { self.map = map }

    func open(_ devices: NodeHandler, users: UserService) {
        inside.withLock { $0 = Inside(devices: devices, users: users) }
    }

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap: map.handle(request, call: call)
        case .program: call.reply(.program(.own))
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .putRow, .updateTable, .deleteTable, .deleteAccount, .readTable, .listTable, .status, .replication,
            .workers, .setWorker,
            .verifyObject:
            guard let devices = inside.withLock({ $0?.devices }) else { return refuse(call) }
            devices.handle(request, call: call)
        case .users(let query):
            guard let users = inside.withLock({ $0?.users }) else { return refuse(call) }
            users.handle(query, call: call)
        }
    }

    private func refuse(_ call: ServerCall) {
        call.reply(.failed(StorageFailure(.busy, "the devices are being opened")))
    }

    func ended(_ call: ServerCall) { inside.withLock { $0?.devices }?.ended(call) }
}

extension ClusterRings {
    /// The rings before the last change.
    fileprivate var before: ClusterRings? {
        previous.map {
            ClusterRings(hasher: hasher, account: $0.account, container: $0.container, object: $0.object)
        }
    }

    init(map: ClusterMap, hasher: PathHasher) {
        let rings = map.rings
        self.init(
            version: map.version, hasher: hasher, account: rings.account, container: rings.container,
            object: rings.object, previous: map.previous)
    }
}
