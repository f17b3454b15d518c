import ArgumentParser
import Daemon
import Ring
import StorageWire

/// `ringfort status`: how a store and its devices are.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the devices of a running store: space, objects, queues.",
        discussion: """
            Asks the process that runs on the data directory. Objects and rows are counted per copy: three copies of an
            object are three.

            Examples:
              ringfort status --data ./data
              ringfort status --data ./data --json | jq '.devices[].free_bytes'
            """)

    @Option(help: "The data directory of the store.")
    var data: String

    @Flag(help: "Answer as JSON.")
    var json = false

    func run() throws {
        let directory = ClusterDirectory(data)
        let identity = try directory.open()
        let node = try NodeFile.read(from: directory)
        let client = try NodeClient(identity: identity)
        defer { client.close() }
        switch try client.ask(.status, host: "127.0.0.1", port: node.storagePort) {
        case .status(let status): show(status, process: node.process)
        case .failed(let failure): throw CommandError("the store does not answer: \(failure.reason) \(failure.detail)")
        default: throw CommandError("the store gave an answer that makes no sense")
        }
    }

    private func show(_ status: NodeStatus, process: Int) {
        if json {
            let usage = ProcessUsage.sample(directory: "/proc/\(process)")
            let value = JSONValue.object([
                JSONMember("process", .integer(process)),
                JSONMember("resident_bytes", .integer(Int(usage.residentBytes))),
                JSONMember("anonymous_bytes", .integer(Int(usage.anonymousBytes))),
                JSONMember("devices", .array(status.devices.map(\.json))),
            ])
            return print(String(decoding: value.encoded, as: UTF8.self))
        }
        print("DEVICE  STATE      FREE       TOTAL      OBJECTS    ROWS       QUEUE  PENDING  QUARANTINED")
        for device in status.devices {
            print(
                device.name.padded(7), device.state.padded(10), Self.size(device.freeBytes).padded(10),
                Self.size(device.totalBytes).padded(10), "\(device.objects)".padded(10), "\(device.rows)".padded(10),
                "\(device.queueDepth)".padded(6), "\(device.pendingUpdates)".padded(8), "\(device.quarantined)")
        }
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
        ])
    }
}

extension String {
    /// At least `width` characters, filled with blanks.
    func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
