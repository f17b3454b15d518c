import ArgumentParser
import Daemon
import HTTPServer
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// `ringfort storage`: the devices of one node, served to proxies.
struct StorageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "storage",
        abstract: "Serve the devices of this node to proxies and other nodes.",
        discussion: """
            The rings say which devices are here: those with the address and port that this process listens on. The
            cluster directory (rings, cluster.json) is the same on all nodes. Peers prove that they hold the key of the
            cluster before they are answered.

            Example (three of these and a proxy on one machine, rings made with `ringfort ring`):
              ringfort storage --cluster ./cluster --data ./node1 --port 6201
            """)

    @Option(help: "The directory with the rings and secrets of the cluster.")
    var cluster: String

    @Option(help: "The directory that holds the devices of this node.")
    var data: String

    @OptionGroup var server: ServerOptions
    @OptionGroup var replication: ReplicationOptions
    @OptionGroup var links: EncryptionOptions

    @Option(help: "The port for other nodes, as in the rings.")
    var port = 6200

    func validate() throws { try checkPort(port, "--port") }

    func run() throws {
        let directory = ClusterDirectory(cluster)
        let identity = try directory.open()
        let process = try ServerProcess(directory: ClusterDirectory(data), log: try server.makeLog())
        let rings = ClusterRings(
            hasher: identity.hasher, account: try directory.ring("account"),
            container: try directory.ring("container"), object: try directory.ring("object"))
        let credentials = try identity.wireCredentials()
        let nodes = NodeTable()
        let table = DeviceTable(rings)
        let here = table.devices.values.filter { $0.ip == server.listen && $0.port == port }.sorted { $0.id < $1.id }
        guard !here.isEmpty else {
            throw CommandError("no ring in \(cluster) has a device at \(server.listen):\(port)")
        }
        let devices = here.map {
            StorageAssembly.Device(
                id: UInt16(truncatingIfNeeded: $0.id), name: $0.device, directory: "\(data)/devices/\($0.device)")
        }
        let storage = try StorageAssembly(
            devices: devices, directory: ClusterDirectory(data), clusterID: identity.clusterID,
            rings: CurrentRings(rings),
            nodes: nodes, group: process.group, workers: process.workers, replication: replication.times,
            isFounding: devices.allSatisfy(\.isEmpty), logger: process.logger)
        let remote = table.connect(
            except: (server.listen, port, LocalNode(handler: storage.handler)), group: process.group,
            credentials: credentials, encryption: links.encryption, logger: process.logger)
        nodes.set(remote.byDevice)
        let listener: StorageServer
        do {
            listener = try StorageServer.start(
                host: server.listen, port: port, group: process.group, handler: storage.handler,
                credentials: credentials, requiresEncryption: links.encrypt, logger: process.logger
            ).wait()
        } catch {
            throw CommandError("can't listen on \(server.listen):\(port): \(error)")
        }
        try storage.start()
        ReadyAddress(kind: "storage", address: "\(server.listen):\(listener.port)").print(json: server.json)

        try process.waitForStop()
        try? listener.close(within: .seconds(30)).wait()
        remote.close()
        storage.close()
        process.end()
    }
}

/// `ringfort proxy`: the API, on devices that other processes serve.
struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Serve the Swift API on devices that `ringfort storage` processes have.",
        discussion: """
            Rings and secrets are read from the data directory; nodes are reached at the addresses in the rings. Any
            number of proxies may run, on any machine.

            Example:
              ringfort proxy --data ./cluster --listen 0.0.0.0 --port 8080
            """)

    @Option(help: "The directory with the rings, secrets and users of the cluster.")
    var data: String

    @OptionGroup var server: ServerOptions
    @OptionGroup var links: EncryptionOptions

    @Option(help: "The port for clients.")
    var port = 8080

    func validate() throws { try checkPort(port, "--port") }

    func run() throws {
        let directory = ClusterDirectory(data)
        let identity = try directory.open()
        let process = try ServerProcess(directory: directory, log: try server.makeLog())
        let rings = ClusterRings(
            hasher: identity.hasher, account: try directory.ring("account"),
            container: try directory.ring("container"), object: try directory.ring("object"))
        let nodes = NodeTable()
        let remote = DeviceTable(rings).connect(
            except: nil, group: process.group, credentials: try identity.wireCredentials(),
            encryption: links.encryption, logger: process.logger)
        nodes.set(remote.byDevice)
        let proxy = try ProxyAssembly(
            directory: directory, identity: identity, rings: rings, nodes: nodes, listen: server.listen, port: port,
            group: process.group, workers: process.workers, registry: process.registry, logger: process.logger)
        let address = "http://\(server.listen):\(proxy.listener.address.port ?? port)"
        ReadyAddress(kind: "proxy", address: address).print(json: server.json)

        try process.waitForStop()
        proxy.drain()
        remote.close()
        process.end()
    }
}

/// The line that says that a process answers.
struct ReadyAddress {
    let kind: String
    let address: String

    func print(json: Bool) {
        let line = JSONValue.object([JSONMember(kind, .string(address))])
        Swift.print(json ? "ready " + String(decoding: line.encoded, as: UTF8.self) : "ready \(kind) \(address)")
        Terminal.flush()
    }
}
