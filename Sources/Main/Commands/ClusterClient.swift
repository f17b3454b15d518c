import ArgumentParser
import ClusterMap
import NIOCore
import Ring
import StorageWire

/// Options of the commands that ask the store that runs on a data directory.
struct RunningStoreOptions: ParsableArguments {
    @Option(help: "The data directory of a running node.")
    var data: String

    @Flag(help: "Answer as JSON.")
    var json = false

    /// Asks the node; its connections are closed at the end.
    func ask<Result>(_ body: (ClusterClient) throws -> Result) throws -> Result {
        let directory = ClusterDirectory(data)
        let identity = try directory.open()
        let node = try NodeFile.read(from: directory)
        let client = ClusterClient(client: try NodeClient(identity: identity), node: node)
        defer { client.client.close() }
        return try body(client)
    }
}

/// Asks a running node about its cluster, and has it changed.
struct ClusterClient {
    let client: NodeClient
    let node: NodeFile

    /// The newest map of the node.
    func map() throws -> ClusterMap {
        switch try client.ask(.readMap(newerThan: 0), host: node.host, port: node.storagePort) {
        case .map(_, let value):
            do { return try ClusterMap(decoding: Array(value.readableBytesView)) } catch {
                throw CommandError("the node's map can't be read: \(error)")
            }
        case .failed(let failure):
            throw CommandError("the store does not answer: \(failure.reason) \(failure.detail)")
        default: throw CommandError("the store gave an answer that makes no sense")
        }
    }

    func change(_ change: MapChange) throws -> ChangeResult {
        let reply = try client.ask(
            .changeMap(ByteBuffer(bytes: change.json.encoded)), host: node.host, port: node.storagePort,
            timeout: NodeClient.changeTimeout)
        switch reply {
        case .mapChanged(let bytes):
            guard let json = try? JSONValue(parsing: bytes.readableBytesView), let result = ChangeResult(json: json)
            else { throw CommandError("the store gave an answer that makes no sense") }
            return result
        case .failed(let failure) where failure.reason == .refused: throw CommandError(failure.detail)
        case .failed(let failure):
            throw CommandError("the store could not do it: \(failure.reason) \(failure.detail)")
        default: throw CommandError("the store gave an answer that makes no sense")
        }
    }

    /// The state of the devices of each node that can be reached, by node id.
    func statuses(_ map: ClusterMap) throws -> [String: NodeStatus] {
        let asked = map.nodes.map {
            ($0.id, client.begin(.status, host: $0.host, port: $0.storagePort, timeout: .seconds(3)))
        }
        var statuses: [String: NodeStatus] = [:]
        for (id, reply) in asked {
            if case .status(let status) = try reply.wait() { statuses[id] = status }
        }
        return statuses
    }
}

extension ClusterClient {
    /// The background workers of each node that can be reached, by node id.
    func workers(_ map: ClusterMap) throws -> [String: [WorkerReport]] {
        let asked = map.nodes.map {
            ($0.id, client.begin(.workers, host: $0.host, port: $0.storagePort, timeout: .seconds(3)))
        }
        var workers: [String: [WorkerReport]] = [:]
        for (id, reply) in asked {
            if case .workers(let reports) = try reply.wait() { workers[id] = reports }
        }
        return workers
    }
}

extension ChangeResult {
    /// What a command prints.
    func print(_ done: String, json: Bool) {
        if json { return Swift.print(self.json.text) }
        let moves = zip(PerRing<Int>.names, moved).map { "\($0) \($1)" }.joined(separator: ", ")
        Swift.print("\(done) (map version \(version)). Replicas of partitions that move: \(moves).")
        let (left, waiting) = (unmoved.reduce(0, +), resting.reduce(0, +))
        if left > 0 {
            Swift.print("\(left) are still on draining devices: of each partition one replica moves at a time.")
        }
        if waiting > 0 {
            Swift.print(
                "\(waiting) partitions stayed: an earlier change has moved them, and their data may be under way.")
        }
        if left + waiting > 0 {
            Swift.print("They follow by themselves: `ringfort rebalance status --watch` shows how far it is.")
        }
    }
}
