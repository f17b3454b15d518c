import ClusterMap
import Ring
import StorageWire

/// What moves in a cluster at a moment: what is left to do for each device, how fast it goes, and how long it takes.
struct RebalanceReport {
    /// One device with what its node's replicators do.
    struct Device {
        var settling: Settling.Device
        /// Objects and tables per second that the node's replicators bring and give.
        var rate: Int64
        /// Nil when nothing is left, or when nobody can tell.
        var secondsLeft: Int64?

        var left: Int64 { (settling.status?.misplacedObjects ?? 0) + (settling.status?.misplacedTables ?? 0) }
    }

    let version: UInt64
    let settling: Settling
    let devices: [Device]
    /// Of the cluster: the node that takes longest.
    let secondsLeft: Int64?
    let rate: Int64
    /// Nodes whose replicators an operator holds.
    let paused: [String]

    static let workers = ["object-replicator", "table-replicator"]

    init(_ map: ClusterMap, statuses: [String: NodeStatus], workers: [String: [WorkerReport]]) {
        version = map.version
        let settling = Settling(map, statuses: statuses)
        self.settling = settling
        let replicators = workers.mapValues { $0.filter { Self.workers.contains($0.name) } }
        let rates = replicators.mapValues { $0.reduce(0) { $0 + $1.rate } }
        rate = rates.values.reduce(0, +)
        paused = map.nodes.filter { replicators[$0.id]?.contains { $0.state == "paused" } ?? false }.map(\.name)
        // The devices of a node take turns: each is done when all before it are.
        var before: [String: Int64] = [:]
        devices = settling.devices.map { device in
            var view = Device(settling: device, rate: rates[device.node.id] ?? 0)
            guard view.left > 0 else { return view }
            before[device.node.id, default: 0] += view.left
            if view.rate > 0 { view.secondsLeft = (before[device.node.id] ?? 0) / view.rate + 1 }
            return view
        }
        // How many objects a partition has that a device has yet to get, only those know that give them.
        let isKnown = devices.allSatisfy { $0.settling.status != nil && ($0.left == 0 || $0.secondsLeft != nil) }
        secondsLeft = isKnown ? devices.compactMap(\.secondsLeft).max() : nil
    }

    private func sum(_ figure: (DeviceStatus) -> Int64) -> Int64 {
        devices.compactMap(\.settling.status).reduce(0) { $0 + figure($1) }
    }

    /// One line that says it all.
    var summary: String {
        if settling.isDone { return "settled: all data is where the rings of map version \(version) say" }
        let left =
            "\(sum(\.behindPartitions)) partitions behind, \(sum(\.misplacedObjects)) objects "
            + "(\(StatusCommand.size(sum(\.misplacedBytes)))) and \(sum(\.misplacedTables)) tables to move"
        let state: String
        if !paused.isEmpty {
            state = "paused on \(paused.joined(separator: ", "))"
        } else if settling.isSettled {
            state = "settled for these rings, what rested moves next"
        } else if devices.allSatisfy({ $0.left == 0 && $0.settling.status?.behindPartitions == 0 }) {
            state = "the replicators have a last look"
        } else {
            state = "\(rate)/s, " + (secondsLeft.map { "about \(WorkerReport.duration($0)) left" } ?? "time not known")
        }
        return "map version \(version): \(left); \(state)"
    }

    func show() {
        print(
            "DEVICE               STATE      PARTITIONS  BEHIND  OBJECTS  SIZE       TABLES  RATE    LEFT     SETTLED")
        for device in devices {
            let status = device.settling.status
            func figure(_ value: (DeviceStatus) -> Int64) -> String { status.map { "\(value($0))" } ?? "-" }
            print(
                "\(device.settling.node.name)/\(device.settling.device.name)".padded(20),
                (status == nil ? "unknown" : device.settling.device.state.rawValue).padded(10),
                "\(device.settling.partitions)".padded(11), figure(\.behindPartitions).padded(7),
                figure(\.misplacedObjects).padded(8),
                (status.map { StatusCommand.size($0.misplacedBytes) } ?? "-").padded(10),
                figure(\.misplacedTables).padded(7), "\(device.rate)/s".padded(7),
                (device.secondsLeft.map(WorkerReport.duration) ?? "-").padded(8),
                device.settling.isSettled ? "yes" : "no")
        }
        for obstacle in settling.obstacles.prefix(Self.shownObstacles) { print("  \(obstacle)") }
        if settling.obstacles.count > Self.shownObstacles {
            print("  and \(settling.obstacles.count - Self.shownObstacles) more")
        }
        print(summary)
    }

    private static let shownObstacles = 10

    var json: JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map { .integer(Int($0)) } ?? .null }
        func figures(_ figure: ((DeviceStatus) -> Int64) -> Int64?) -> [JSONMember] {
            [
                JSONMember("behind_partitions", number(figure(\.behindPartitions))),
                JSONMember("misplaced_objects", number(figure(\.misplacedObjects))),
                JSONMember("misplaced_bytes", number(figure(\.misplacedBytes))),
                JSONMember("misplaced_tables", number(figure(\.misplacedTables))),
            ]
        }
        let list = devices.map { device -> JSONValue in
            let settling = device.settling
            let head = [
                JSONMember("id", .integer(settling.device.id)), JSONMember("node", .string(settling.node.name)),
                JSONMember("name", .string(settling.device.name)),
                JSONMember("state", .string(settling.device.state.rawValue)),
                JSONMember("partitions", .integer(settling.partitions)),
            ]
            return .object(
                head + figures { value in settling.status.map(value) } + [
                    JSONMember("rate", number(device.rate)), JSONMember("seconds_left", number(device.secondsLeft)),
                    JSONMember("settled", .bool(settling.isSettled)),
                ])
        }
        let total = JSONValue.object(
            figures { sum($0) } + [
                JSONMember("rate", number(rate)), JSONMember("seconds_left", number(secondsLeft)),
            ])
        return .object([
            JSONMember("map_version", .integer(Int(version))), JSONMember("settled", .bool(settling.isDone)),
            JSONMember("waiting", .bool(settling.isExpected)),
            JSONMember("paused", .array(paused.map { .string($0) })),
            JSONMember("obstacles", .array(settling.obstacles.map { .string($0) })),
            JSONMember("devices", .array(list)), JSONMember("total", total),
        ])
    }
}
