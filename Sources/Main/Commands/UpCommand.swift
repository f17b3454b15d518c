import Access
import ArgumentParser
import Daemon
import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// `ringfort up`: a whole store in one process.
struct UpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Start a store: proxy, object, container and account servers in one process.",
        discussion: """
            Makes what is missing under the data directory (devices, rings, keys, a first user) and starts again on
            what it finds there. Prints one line that begins with "ready" when it answers, and how to sign in is
            written to DIR/credentials.env. SIGTERM or Ctrl-C finishes running requests and exits with 0.

            Examples:
              ringfort up --data ./data
              ringfort up --data /srv/ringfort --listen 0.0.0.0 --port 8080 --devices 8
            """)

    @Option(help: "The directory that holds everything.")
    var data: String

    @OptionGroup var server: ServerOptions
    @OptionGroup var replication: ReplicationOptions

    @Option(help: "The port for clients; 0 takes any that is free.")
    var port = 8080

    @Option(help: "How many devices a new store has (4). Each is a folder: mount disks there if you like.")
    var devices: Int?

    @Option(help: "How many copies a new store keeps (3).")
    var replicas: Int?

    func validate() throws {
        try checkPort(port, "--port")
        guard (1...1_000).contains(devices ?? 4) else { throw ValidationError("--devices is a number from 1 to 1000") }
        guard (1...16).contains(replicas ?? 3) else { throw ValidationError("--replicas is a number from 1 to 16") }
    }

    func run() throws {
        let directory = ClusterDirectory(data)
        let process = try ServerProcess(directory: directory, log: try server.makeLog())
        let identity = try directory.openOrCreate()
        let firstKey = try addFirstUser(directory, identity)
        let rings = try openRings(directory, identity)
        let nodes = NodeTable()
        let devices = try localDevices(directory, rings)
        let storage = try StorageAssembly(
            devices: devices, directory: directory, clusterID: identity.clusterID, rings: rings, nodes: nodes,
            group: process.group, workers: process.workers, replicateEvery: replication.interval,
            isFounding: devices.allSatisfy(\.isEmpty), logger: process.logger)
        let local = LocalNode(handler: storage.handler)
        nodes.set(Dictionary(uniqueKeysWithValues: devices.map { ($0.id, local) }))
        try storage.start().wait()
        try DeviceMetrics.register(storage.handler, on: process.registry)
        try storage.register(on: process.registry)
        // For commands on this machine; other machines have no way in yet.
        let control = try StorageServer.start(
            host: "127.0.0.1", port: 0, group: process.group, handler: storage.handler,
            credentials: try identity.wireCredentials(), logger: process.logger
        ).wait()
        let proxy = try ProxyAssembly(
            directory: directory, identity: identity, rings: rings, nodes: nodes, listen: server.listen, port: port,
            group: process.group, workers: process.workers, registry: process.registry, logger: process.logger)
        try NodeFile(process: Int(getpid()), storagePort: control.port).write(to: directory)
        let address = ReadyLine(listen: server.listen, port: proxy.listener.address.port ?? port, data: data)
        try address.writeCredentials(to: directory, firstKey: firstKey)
        address.print(json: server.json)

        try process.waitForStop()
        process.logger.notice("Stopping", metadata: ["waits_for_seconds": "30"])
        proxy.drain()
        try? control.close(within: .seconds(1)).wait()
        storage.close()
        unlink(directory.file("node.json"))
        process.end()
    }

    /// The key of the first user, when it was made just now.
    private func addFirstUser(_ directory: ClusterDirectory, _ identity: ClusterIdentity) throws -> [UInt8]? {
        let store = directory.users(identity)
        let users: UserFile
        do { users = try store.load() } catch { throw CommandError("\(store.path): \(error)") }
        guard users.list.isEmpty else { return nil }
        let key = try RandomBytes.makeKeyText()
        try store.edit { users throws(UserFile.Failure) in
            try users.add(
                account: Array("admin".utf8), name: Array("admin".utf8), key: key, roles: [.admin],
                now: UInt64(WallClock.system.seconds))
        }
        return key
    }

    private func openRings(_ directory: ClusterDirectory, _ identity: ClusterIdentity) throws -> ClusterRings {
        for name in ["account", "container", "object"] where access(directory.file("\(name).ring.gz"), F_OK) != 0 {
            try makeRing(name, in: directory)
        }
        let rings = ClusterRings(
            hasher: identity.hasher, account: try directory.ring("account"),
            container: try directory.ring("container"), object: try directory.ring("object"))
        try checkShape(rings.object)
        return rings
    }

    /// What a store was made with stays; asking for something else is a mistake that should be heard.
    private func checkShape(_ ring: Ring) throws {
        let present = ring.devices.count { $0 != nil }
        if let devices, devices != present {
            throw CommandError(
                "this store has \(present) devices, not \(devices): start it without --devices, or change its rings with "
                    + "`ringfort ring`")
        }
        if let replicas, Double(replicas) != ring.replicaCount {
            throw CommandError(
                "this store keeps \(ring.replicaCount) copies, not \(replicas): start it without --replicas")
        }
    }

    /// Devices are zones of their own: copies land on different ones. A builder that is there knows where the data is.
    private func makeRing(_ name: String, in directory: ClusterDirectory) throws {
        let ringFile = directory.file("\(name).ring.gz")
        let builderFile = directory.file("\(name).builder")
        if let bytes = try AtomicFile.read(builderFile, limit: RingFile.Limit.fileBytes) {
            let builder: RingBuilder
            do { builder = try BuilderFile.decode(bytes) } catch { throw CommandError("\(builderFile): \(error)") }
            return try AtomicFile.write(RingFile.encode(builder.ring()), to: ringFile)
        }
        var builder = try RingBuilder(partPower: Self.partPower, replicas: Double(replicas ?? 3), minPartHours: 1)
        for number in 1...(devices ?? 4) {
            _ = try builder.add(
                RingDevice(
                    zone: number, ip: "127.0.0.1", port: Self.storagePort, device: "d\(number)", weight: 100))
        }
        // The same seed for all three: a container's rows are then beside its objects no more often than chance has it.
        _ = try builder.rebalance(now: Int(WallClock.system.seconds), seed: UInt64(name.utf8.count))
        try AtomicFile.write(BuilderFile.encode(builder), to: builderFile)
        try AtomicFile.write(RingFile.encode(builder.ring()), to: ringFile)
    }

    /// Room for some thousand devices later: partitions can't be split yet.
    private static let partPower = 14
    /// OpenStack Swift's port for object servers; in one process nobody listens there.
    private static let storagePort = 6200

    private func localDevices(
        _ directory: ClusterDirectory, _ rings: ClusterRings
    ) throws -> [StorageAssembly.Device] {
        var devices: [UInt16: StorageAssembly.Device] = [:]
        for ring in [rings.account, rings.container, rings.object] {
            for device in ring.devices.compactMap({ $0 }) {
                let id = UInt16(truncatingIfNeeded: device.id)
                devices[id] = StorageAssembly.Device(
                    id: id, name: device.device, directory: directory.file("devices/\(device.device)"))
            }
        }
        return devices.values.sorted { $0.id < $1.id }
    }
}

/// What a store tells when it answers, and how to sign in.
struct ReadyLine {
    let listen: String
    let port: Int
    let data: String

    /// The address to use from this machine.
    private var host: String { listen == "0.0.0.0" || listen == "::" ? "127.0.0.1" : listen }
    private var url: String { "http://\(host):\(port)" }

    /// How to call python-swiftclient: where the first `swift` on the path is the compiler, by its module.
    private var client: String {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let first = path.split(separator: ":").first { access($0 + "/swift", X_OK) == 0 }
        let isCompiler = first.map { access($0 + "/swiftc", X_OK) == 0 } ?? false
        return isCompiler ? "python3 -m swiftclient.shell" : "swift"
    }

    /// Written anew with each start, since the port may be another; the key of the first user is kept as it was.
    func writeCredentials(to directory: ClusterDirectory, firstKey: [UInt8]?) throws {
        let path = directory.file("credentials.env")
        var key = firstKey.map { String(decoding: $0, as: UTF8.self) }
        if key == nil, let old = try AtomicFile.read(path, limit: 1 << 16) {
            key = String(decoding: old, as: UTF8.self).split(separator: "\n")
                .first { $0.hasPrefix("export ST_KEY=") }.map { String($0.dropFirst("export ST_KEY=".count)) }
        }
        guard let key else { return }
        let text = """
            export ST_AUTH=\(url)/auth/v1.0
            export ST_USER=admin:admin
            export ST_KEY=\(key)
            export OS_STORAGE_URL=\(url)/v1/AUTH_admin

            """
        try AtomicFile.write(Array(text.utf8), to: path, mode: 0o600)
    }

    func print(json: Bool) {
        if json {
            let line = JSONValue.object([
                JSONMember("ready", .bool(true)), JSONMember("url", .string(url)),
                JSONMember("auth", .string(url + "/auth/v1.0")),
                JSONMember("credentials", .string(data + "/credentials.env")),
            ])
            Swift.print("ready " + String(decoding: line.encoded, as: UTF8.self))
        } else {
            Swift.print("ready \(url) (credentials in \(data)/credentials.env)")
            Swift.print(
                """

                  Swift API  \(url)/v1/AUTH_admin     metrics  \(url)/metrics     health  \(url)/healthcheck
                  Sign in    . \(data)/credentials.env

                Try (pip install python-swiftclient):
                  . \(data)/credentials.env
                  \(client) upload demo README.md
                  \(client) list demo
                  \(client) download demo README.md -o -
                """)
        }
        Terminal.flush()
    }
}
