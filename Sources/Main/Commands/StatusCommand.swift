import ArgumentParser
import ClusterMap
import Daemon
import NIOCore
import Ring
import StorageWire

/// `ringfort status`: how a store and its devices are.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the nodes and devices of a running store: who is there, space, objects, queues.",
        discussion: """
            Asks the process that runs on the data directory for the map of the cluster, and then every node. Objects and rows are counted per copy: three copies of an
            object are three.

            Examples:
              ringfort status --data ./data
              ringfort status --data ./data --json | jq '.devices[].free_bytes'
            """)

    @OptionGroup var options: RunningStoreOptions

    /// One node and what it says.
    struct NodeView {
        var node: MapNode
        /// `nil` when it can't be reached.
        var standing: MapStanding?
        /// Seconds that its clock is ahead.
        var offset = 0.0
        var status: NodeStatus?
        /// `nil` when it did not say.
        var program: ProgramReport?
        /// It runs a program from before programs said which they are.
        var isOld = false

        var programText: String { program?.text ?? (isOld ? "before 0.2" : "-") }

        var hasWrongClock: Bool { abs(offset) > MapService.tolerableSkew }
    }

    func run() throws {
        try options.ask { client in
            let map = try client.map()
            show(map, try views(map, client), process: client.node.process)
        }
    }

    private static let patience = TimeAmount.seconds(3)

    /// Asks all nodes at once.
    private func views(_ map: ClusterMap, _ client: ClusterClient) throws -> [NodeView] {
        let asked = map.nodes.map { node in
            let began = WallClock.system.ticks
            let standing = client.client.begin(
                .readMap(newerThan: .max), host: node.host, port: node.storagePort, timeout: Self.patience
            ).map { ($0, began, WallClock.system.ticks) }
            let program = client.client.begin(
                .program, host: node.host, port: node.storagePort, timeout: Self.patience)
            return (node, standing, program)
        }
        let statuses = try client.statuses(map)
        return try asked.map { node, reply, program in
            var view = NodeView(node: node, status: statuses[node.id])
            let (answer, began, ended) = try reply.wait()
            if case .mapStanding(let standing) = answer, standing.node == Array(node.id.utf8) {
                view.standing = standing
                view.offset = ClockOffset.seconds(theirs: standing.clock, asked: began, answered: ended)
            }
            switch try program.wait() {
            case .program(let report): view.program = report
            case .failed(let failure): view.isOld = failure.reason == .unsupported
            default: break
            }
            return view
        }
    }

    private func show(_ map: ClusterMap, _ nodes: [NodeView], process: Int) {
        if options.json { return showJSON(map, nodes, process: process) }
        let links = map.encryptsLinks ? "encrypted" : "in the clear"
        print("Cluster map version \(map.version), links between nodes \(links)\n")
        print("NODE                 ROLE     ADDRESS                STATE      MAP    CLOCK            PROGRAM")
        for view in nodes {
            let node = view.node
            print(
                node.name.padded(20), node.role.rawValue.padded(8), "\(node.host):\(node.storagePort)".padded(22),
                (view.standing == nil ? "unreachable" : node.state.rawValue).padded(10),
                (view.standing.map { "\($0.version)" } ?? "-").padded(6),
                (view.standing == nil ? "-" : "\(view.offset) s").padded(16), view.programText)
        }
        print(
            "\nDEVICE               STATE      FREE       TOTAL      OBJECTS    ROWS       QUEUE  PENDING  QUARANTINED  BEHIND  MISPLACED"
        )
        for view in nodes {
            for device in view.status?.devices ?? [] {
                print(
                    "\(view.node.name)/\(device.name)".padded(20), device.state.padded(10),
                    Self.size(device.freeBytes).padded(10), Self.size(device.totalBytes).padded(10),
                    "\(device.objects)".padded(10), "\(device.rows)".padded(10), "\(device.queueDepth)".padded(6),
                    "\(device.pendingUpdates)".padded(8), "\(device.quarantined)".padded(12),
                    "\(device.behindPartitions)".padded(7), "\(device.misplacedObjects)")
            }
        }
        for warning in warnings(nodes) { print("\nWarning: \(warning)") }
    }

    private func warnings(_ nodes: [NodeView]) -> [String] {
        let programs = nodes.filter { $0.standing != nil }.map { "\($0.node.name) runs \($0.programText)" }
        let isMixed = Set(nodes.filter { $0.standing != nil }.map(\.programText)).count > 1
        let mixture = isMixed ? ["the nodes run different programs: \(programs.joined(separator: ", "))"] : []
        return mixture
            + nodes.compactMap { view in
                guard view.standing != nil else { return "node \(view.node.name) can't be reached" }
                guard view.hasWrongClock else { return nil }
                return
                    "the clock of node \(view.node.name) is \(view.offset) s off: the newest time wins a write, so set it right"
            }
    }

    private func showJSON(_ map: ClusterMap, _ nodes: [NodeView], process: Int) {
        let usage = ProcessUsage.sample(directory: "/proc/\(process)")
        let devices = nodes.flatMap { view in
            (view.status?.devices ?? []).map { device -> JSONValue in
                guard case .object(let members) = device.json else { return .null }
                return .object(members + [JSONMember("node", .string(view.node.name))])
            }
        }
        let value = JSONValue.object([
            JSONMember("process", .integer(process)),
            JSONMember("resident_bytes", .integer(Int(usage.residentBytes))),
            JSONMember("anonymous_bytes", .integer(Int(usage.anonymousBytes))),
            JSONMember("map_version", .integer(Int(map.version))),
            JSONMember("encryption", .string(map.encryptsLinks ? "on" : "off")),
            JSONMember("nodes", .array(nodes.map(\.json))),
            JSONMember("devices", .array(devices)),
            JSONMember("warnings", .array(warnings(nodes).map { .string($0) })),
        ])
        print(value.text)
    }

    /// Bytes for people.
    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
            if value < 1024 { return "\((value * 10).rounded() / 10) \(unit)" }
            value /= 1024
        }
        return "\((value * 10).rounded() / 10) PiB"
    }
}

extension StatusCommand.NodeView {
    var json: JSONValue {
        guard case .object(let members) = node.json else { return .null }
        return .object(
            members + [
                JSONMember("reachable", .bool(standing != nil)),
                JSONMember("map_version", standing.map { .integer(Int($0.version)) } ?? .null),
                JSONMember("clock_offset_seconds", standing == nil ? .null : .number(offset)),
                JSONMember("program", program.map(\.json) ?? .null),
            ])
    }
}

extension ProgramReport {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("version", .string(version)), JSONMember("build", .string(build)),
            JSONMember("wire_oldest", .integer(Int(wire.lowerBound.rawValue))),
            JSONMember("wire_newest", .integer(Int(wire.upperBound.rawValue))),
        ])
    }
}

extension DeviceStatus {
    var json: JSONValue {
        .object([
            JSONMember("id", .integer(Int(device))), JSONMember("name", .string(name)),
            JSONMember("state", .string(state)), JSONMember("total_bytes", .integer(Int(totalBytes))),
            JSONMember("free_bytes", .integer(Int(freeBytes))), JSONMember("objects", .integer(Int(objects))),
            JSONMember("tombstones", .integer(Int(tombstones))), JSONMember("rows", .integer(Int(rows))),
            JSONMember("live_bytes", .integer(Int(liveBytes))),
            JSONMember("garbage_bytes", .integer(Int(garbageBytes))),
            JSONMember("queue_depth", .integer(Int(queueDepth))),
            JSONMember("pending_updates", .integer(Int(pendingUpdates))),
            JSONMember("quarantined", .integer(Int(quarantined))), JSONMember("commits", .integer(Int(commits))),
            JSONMember("committed_records", .integer(Int(committedRecords))),
            JSONMember("behind_partitions", .integer(Int(behindPartitions))),
            JSONMember("misplaced_objects", .integer(Int(misplacedObjects))),
            JSONMember("misplaced_bytes", .integer(Int(misplacedBytes))),
            JSONMember("misplaced_tables", .integer(Int(misplacedTables))),
            JSONMember("settled", settledVersion < 0 ? .null : .integer(Int(settledVersion))),
        ])
    }
}

extension String {
    /// At least `width` characters, filled with blanks.
    func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
