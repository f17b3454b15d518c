import ArgumentParser
import ClusterMap
import Ring
import StorageWire

/// `ringfort device`: the devices of the cluster.
struct DeviceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "List, add, drain, remove, replace and weigh the devices of the cluster.",
        discussion: """
            A device is named NODE/NAME, NAME if no other node has one of that name, or by its number.

            Examples:
              ringfort device list --data ./data
              ringfort device add --data ./data /disks/c
              ringfort device set-weight --data ./data store-2/d1 50
              ringfort device drain --data ./data store-2/d1
              ringfort device remove --data ./data store-2/d1
              ringfort device replace --data ./data store-2/d1 --with /disks/new
            """,
        subcommands: [List.self, Add.self, Drain.self, Remove.self, Replace.self, SetWeight.self])

    /// The device that was named.
    static func find(_ name: String, _ map: ClusterMap) throws -> MapDevice {
        let found = map.devices.filter { device in
            let node = map.node(device.node)?.name ?? ""
            return "\(device.id)" == name || device.name == name || "\(node)/\(device.name)" == name
        }
        guard let device = found.first else {
            throw CommandError("there is no device \(name): `ringfort device list` shows them")
        }
        guard found.count == 1 else {
            throw CommandError("\(found.count) devices are called \(name): write NODE/NAME or the number of the device")
        }
        return device
    }

    /// - Throws: `CommandError` when one of the devices has data that is not known to be elsewhere, or its node can't say.
    static func checkEmpty(_ devices: [MapDevice], _ map: ClusterMap, _ client: ClusterClient) throws {
        let settling = Settling(map, statuses: try client.statuses(map))
        for device in settling.devices where devices.contains(device.device) {
            let name = "\(device.node.name)/\(device.device.name)"
            guard let status = device.status else {
                throw CommandError(
                    "node \(device.node.name) does not say what device \(device.device.name) has: use --force if it is lost"
                )
            }
            guard device.partitions == 0 else {
                throw CommandError(
                    "device \(name) still has \(device.partitions) replicas of partitions: drain it and wait "
                        + "(`ringfort rebalance status --watch`), or use --force if it is lost")
            }
            // Tables stay as copies when all their primaries have them; objects are given up.
            let left = status.objects + status.misplacedTables + status.pendingUpdates
            guard left == 0, device.isSettled else {
                throw CommandError(
                    "device \(name) still has \(status.objects) objects, \(status.misplacedTables) tables and "
                        + "\(status.pendingUpdates) updates that may not be elsewhere yet: drain it and wait "
                        + "(`ringfort rebalance status --watch`), or use --force if it is lost")
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the devices, as the map of the cluster has them.",
            discussion: "Example: ringfort device list --data ./data --json (`ringfort status` also asks each node)")
        @OptionGroup var options: RunningStoreOptions

        func run() throws {
            let map = try options.ask { try $0.map() }
            let parts = map.builders.map { $0.partsByDevice }
            func held(_ id: Int) -> [Int] { parts.all.map { $0.indices.contains(id) ? $0[id] : 0 } }
            if options.json {
                let list = map.devices.map { device -> JSONValue in
                    guard case .object(let members) = device.json else { return .null }
                    return .object(
                        members + [
                            JSONMember("node_name", .string(map.node(device.node)?.name ?? "")),
                            JSONMember(
                                "partitions",
                                .object(
                                    zip(PerRing<Int>.names, held(device.id)).map { JSONMember($0, .integer($1)) })),
                        ])
                }
                let value = JSONValue.object([
                    JSONMember("version", .integer(Int(map.version))), JSONMember("devices", .array(list)),
                ])
                return print(value.text)
            }
            print("ID     DEVICE                     WEIGHT  STATE     PARTITIONS (account, container, object)")
            for device in map.devices {
                let name = "\(map.node(device.node)?.name ?? "")/\(device.name)"
                print(
                    "\(device.id)".padded(6), name.padded(26), "\(device.weight)".padded(7),
                    device.state.rawValue.padded(9), held(device.id).map(String.init).joined(separator: ", "))
            }
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a device to the node that runs on --data.",
            discussion: """
                PATH is a folder on the node's disk; its last part names the device.

                Example: ringfort device add --data ./data /disks/c --weight 100
                """)
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "An absolute path.") var path: String
        @Option(help: "How much it holds compared with others.") var weight = 100.0

        func run() throws {
            let device = try NewDevice(folder: path, weight: try DeviceCommand.checked(weight))
            let result = try options.ask { client in
                let node = try MemberFile.openOrCreate(ClusterDirectory(options.data)).node
                return try client.change(.addDevice(node: node, device))
            }
            result.print("\(device.name) is added", json: options.json)
        }
    }

    struct Drain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move what a device holds to others.",
            discussion: "Example: ringfort device drain --data ./data store-2/d1")
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "NODE/NAME, NAME or number.") var device: String

        func run() throws {
            let result = try options.ask {
                try $0.change(.drainDevice(id: try DeviceCommand.find(device, try $0.map()).id))
            }
            result.print("\(device) is draining", json: options.json)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a device out of the cluster.",
            discussion: """
                Refused while it has partitions or data, unless --force: then what it held is made again from the other
                replicas, all at once. That is for a device that is lost.

                Example: ringfort device remove --data ./data store-2/d1
                """)
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "NODE/NAME, NAME or number.") var device: String
        @Flag(help: "Also when it still has data.") var force = false

        func run() throws {
            let result = try options.ask { client in
                let map = try client.map()
                let found = try DeviceCommand.find(device, map)
                if !force { try DeviceCommand.checkEmpty([found], map, client) }
                return try client.change(.removeDevice(id: found.id, force: force))
            }
            result.print("\(device) is removed", json: options.json)
        }
    }

    struct Replace: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put an empty disk in the place of a device.",
            discussion: """
                The device keeps its number and its partitions; what it held is made again from the other replicas.

                Example: ringfort device replace --data ./data store-2/d1 --with /disks/new
                """)
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "NODE/NAME, NAME or number.") var device: String
        @Option(name: .customLong("with"), help: "The folder of the new disk on the device's node, an absolute path.")
        var path: String

        func run() throws {
            guard path.hasPrefix("/") else { throw CommandError("\(path) is not an absolute path") }
            let result = try options.ask {
                try $0.change(.replaceDevice(id: try DeviceCommand.find(device, try $0.map()).id, path: path))
            }
            result.print("\(device) is at \(path)", json: options.json)
        }
    }

    struct SetWeight: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-weight", abstract: "Give a device more or less to hold; also ends draining.",
            discussion: "Example: ringfort device set-weight --data ./data store-2/d1 50")
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "NODE/NAME, NAME or number.") var device: String
        @Argument(help: "How much it holds compared with others.") var weight: Double

        func run() throws {
            let weight = try DeviceCommand.checked(weight)
            let result = try options.ask {
                try $0.change(.setWeight(id: try DeviceCommand.find(device, try $0.map()).id, weight: weight))
            }
            result.print("\(device) weighs \(weight)", json: options.json)
        }
    }

    private static let largestWeight = 1e9

    private static func checked(_ weight: Double) throws -> Double {
        guard weight >= 0, weight <= largestWeight else {
            throw ValidationError("a weight is a number from 0 to \(Int(largestWeight)), not \(weight)")
        }
        return weight
    }
}
