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
    var storagePort: Int

    func write(to directory: ClusterDirectory) throws {
        let json = JSONValue.object([
            JSONMember("version", .integer(1)), JSONMember("process", .integer(process)),
            JSONMember("storage_port", .integer(storagePort)),
        ])
        try AtomicFile.write(json.encoded, to: directory.file("node.json"), mode: 0o600)
    }

    static func read(from directory: ClusterDirectory) throws -> NodeFile {
        guard let bytes = try AtomicFile.read(directory.file("node.json"), limit: 4096),
            let json = try? JSONValue(parsing: bytes), let process = json["process"]?.integer,
            let port = json["storage_port"]?.integer, DirectoryLock.holder(of: directory.path) != nil
        else {
            throw CommandError(
                "no store is running on \(directory.path): start it with `ringfort up --data \(directory.path)`")
        }
        return NodeFile(process: process, storagePort: port)
    }
}

/// Asks nodes from the command line, one question at a time.
final class NodeClient {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let credentials: WireCredentials
    private var nodes: [String: RemoteNode] = [:]

    init(identity: ClusterIdentity) throws {
        credentials = try identity.wireCredentials()
    }

    /// - Throws: `CommandError` when the node can't be reached within five seconds.
    func ask(_ request: StorageRequest, host: String, port: Int) throws -> StorageReply {
        try begin(request, host: host, port: port, within: .seconds(5)).wait()
    }

    /// The reply comes in any case: at the latest when the time is over it is a failure.
    func begin(
        _ request: StorageRequest, host: String, port: Int, within time: TimeAmount
    ) -> EventLoopFuture<StorageReply> {
        let address = "\(host):\(port)"
        let node =
            nodes[address]
            ?? RemoteNode(
                host: host, port: port, group: group, credentials: credentials,
                logger: Logger(label: "client") { _ in SwiftLogNoOpLogHandler() })
        nodes[address] = node
        let eventLoop = group.next()
        let promise = eventLoop.makePromise(of: StorageReply.self)
        eventLoop.execute {
            let receiver = FirstReply(promise)
            node.call(request, deadline: .now() + time, on: eventLoop, receiver: receiver, tag: 0)
        }
        return promise.futureResult
    }

    func close() {
        for node in nodes.values { try? node.close().wait() }
        try? group.syncShutdownGracefully()
    }

    private final class FirstReply: CallReceiver {
        private let promise: EventLoopPromise<StorageReply>

        init(_ promise: EventLoopPromise<StorageReply>) { self.promise = promise }

        func received(_ reply: StorageReply, tag: Int) { promise.succeed(reply) }
    }
}

extension ClusterIdentity {
    func wireCredentials() throws -> WireCredentials {
        guard let key = StorageWire.ClusterKey(key) else { throw CommandError("the cluster's key is too short") }
        return WireCredentials(
            clusterId: Array(clusterID.utf8), key: key, random: WireCredentials.systemRandom)
    }
}
