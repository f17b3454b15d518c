import ArgumentParser
import ClusterMap
import Ring

/// `ringfort node`: the members of the cluster.
struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "List, drain and remove the nodes of the cluster.",
        discussion: """
            Changes are made by the node that runs on --data; a majority of the nodes has to agree, which they do within
            seconds when they can be reached. `ringfort join` adds a node.

            Examples:
              ringfort node list --data ./data
              ringfort node drain --data ./data store-3
              ringfort node remove --data ./data store-3
            """,
        subcommands: [List.self, Drain.self, Remove.self, Rebalance.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the nodes, as the map of the cluster has them.",
            discussion: "Example: ringfort node list --data ./data --json (`ringfort status` also asks each node)")
        @OptionGroup var options: RunningStoreOptions

        func run() throws {
            let map = try options.ask { try $0.map() }
            if options.json {
                let value = JSONValue.object([
                    JSONMember("version", .integer(Int(map.version))),
                    JSONMember("nodes", .array(map.nodes.map(\.json))),
                ])
                return print(value.text)
            }
            print("NAME                 ROLE     ADDRESS                API    REGION  ZONE  DEVICES  STATE")
            for node in map.nodes {
                print(
                    node.name.padded(20), node.role.rawValue.padded(8), "\(node.host):\(node.storagePort)".padded(22),
                    "\(node.apiPort)".padded(6), "\(node.region)".padded(7), "\(node.zone)".padded(5),
                    "\(map.devices(of: node.id).count)".padded(8), node.state.rawValue)
            }
        }
    }

    struct Drain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move what a node's devices hold to others.",
            discussion: """
                The node serves what it still has. Of each partition one replica moves at a time, and the next when that has
                arrived; `ringfort rebalance status --watch` ends when all have.

                Example: ringfort node drain --data ./data store-3
                """)
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "The name of the node.") var name: String

        func run() throws {
            try options.ask { try $0.change(.drainNode(name: name)) }.print("\(name) is draining", json: options.json)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a node out of the cluster.",
            discussion: """
                Refused while its devices have partitions or data, unless --force: then what it held is made again from the
                other replicas, all at once. That is for a node that is lost.

                Example: ringfort node remove --data ./data store-3 --force
                """)
        @OptionGroup var options: RunningStoreOptions
        @Argument(help: "The name of the node.") var name: String
        @Flag(help: "Also when it still has data.") var force = false

        func run() throws {
            let result = try options.ask { client in
                if !force {
                    let map = try client.map()
                    if let node = map.nodes.first(where: { $0.name == name }) {
                        try DeviceCommand.checkEmpty(map.devices(of: node.id), map, client)
                    }
                }
                return try client.change(.removeNode(name: name, force: force))
            }
            result.print("\(name) is removed", json: options.json)
        }
    }

    struct Rebalance: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move what earlier changes could not move yet.",
            discussion: """
                Of each partition one replica moves at a time, and then the partition rests for min_part_hours, since its
                data has to follow; the cluster notices by itself when it has (`ringfort rebalance status`). With --settled
                you say that all data is where it belongs, so that every partition may move again; said too early, names
                can be missing until it is.

                Examples:
                  ringfort node rebalance --data ./data
                  ringfort node rebalance --data ./data --settled
                """)
        @OptionGroup var options: RunningStoreOptions
        @Flag(help: "The data of all earlier changes has moved.") var settled = false

        func run() throws {
            try options.ask { try $0.change(.rebalance(settled: settled)) }
                .print("The rings are rebalanced", json: options.json)
        }
    }
}
