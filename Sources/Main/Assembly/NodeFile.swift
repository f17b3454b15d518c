import Daemon
import Glibc
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// Where a running store can be asked by commands on the same machine: `DIR/node.json`.
struct NodeFile {
    var process: Int
    var host: String
    var storagePort: Int

    private static let version = 1

    func write(to directory: ClusterDirectory) throws {
        let json = JSONValue.object([
            JSONMember("version", .integer(Self.version)), JSONMember("process", .integer(process)),
            JSONMember("host", .string(host)), JSONMember("storage_port", .integer(storagePort)),
        ])
        try AtomicFile.write(json.encoded, to: directory.file("node.json"), mode: 0o600)
    }

    static func read(from directory: ClusterDirectory) throws -> NodeFile {
        let json = try AtomicFile.read(directory.file("node.json"), limit: 4096).flatMap { try? JSONValue(parsing: $0) }
        try json?.requireVersion(version, of: directory.file("node.json"))
        guard let json, let process = json["process"]?.integer,
            let host = json["host"]?.string, let port = json["storage_port"]?.integer,
            DirectoryLock.holder(of: directory.path) != nil
        else {
            throw CommandError(
                "no store is running on \(directory.path): start it with `ringfort up --data \(directory.path)`")
        }
        return NodeFile(process: process, host: host, storagePort: port)
    }
}

/// Asks nodes from the command line, one question at a time.
final class NodeClient {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let credentials: WireCredentials
    private let encryption: LinkEncryption
    private var nodes: [String: RemoteNode] = [:]

    init(identity: ClusterIdentity, encryption: LinkEncryption = .whenAsked) throws {
        credentials = try identity.wireCredentials()
        self.encryption = encryption
    }

    static let timeout = TimeAmount.seconds(5)
    /// A change waits for others that are under way, and for nodes that don't answer.
    static let changeTimeout = TimeAmount.seconds(30)

    /// The answer, which is `failed` when there is none in time.
    func ask(
        _ request: StorageRequest, host: String, port: Int, timeout: TimeAmount = NodeClient.timeout
    ) throws -> StorageReply {
        try begin(request, host: host, port: port, timeout: timeout).wait()
    }

    /// Asks without waiting, so that several nodes can be asked at once.
    func begin(
        _ request: StorageRequest, host: String, port: Int, timeout: TimeAmount = NodeClient.timeout
    ) -> EventLoopFuture<StorageReply> {
        let address = "\(host):\(port)"
        let node =
            nodes[address]
            ?? RemoteNode(
                host: host, port: port, group: group, credentials: credentials, encryption: encryption,
                logger: Logger(label: "client") { _ in SwiftLogNoOpLogHandler() })
        nodes[address] = node
        let eventLoop = group.next()
        return eventLoop.flatSubmit { node.ask(request, within: timeout, on: eventLoop) }
    }

    func close() {
        for node in nodes.values { try? node.close().wait() }
        try? group.syncShutdownGracefully()
    }
}

extension ClusterIdentity {
    func wireCredentials() throws -> WireCredentials {
        guard let key = StorageWire.ClusterKey(key) else { throw CommandError("the cluster's key is too short") }
        return WireCredentials(
            clusterId: Array(clusterID.utf8), key: key, random: WireCredentials.systemRandom)
    }
}
