import ArgumentParser
import ClusterMap
import Daemon
import Glibc
import NIOCore
import Ring
import StorageWire

/// `ringfort encryption`: whether links between the nodes are encrypted.
struct EncryptionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encryption",
        abstract: "Encrypt the links between the nodes, or show whether they are.",
        discussion: """
            Nodes always show each other that they hold the cluster's key. Encrypted (TLS 1.3 with a key derived from that
            one; there are no certificates), nobody in between can read or change what they say. It is a setting of the
            whole cluster and can be changed while it runs: no request fails.

            Examples:
              ringfort encryption status --data ./data
              ringfort encryption on --data ./data
            """,
        subcommands: [On.self, Off.self, Status.self])

    struct On: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Encrypt the links between the nodes, and turn away peers that don't.",
            discussion: """
                Each node goes over when it hears of the change, within seconds: its new calls travel encrypted, and it lets
                nobody in that does not encrypt. A link in the clear that is there ends with the calls on it; it takes new ones
                for half a minute, from nodes that have not heard yet. A node that is away hears of it when it is back.

                Example: ringfort encryption on --data ./data
                """)
        @OptionGroup var options: RunningStoreOptions

        func run() throws { try EncryptionCommand.change(to: true, options) }
    }

    struct Off: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the nodes talk in the clear.",
            discussion: "Example: ringfort encryption off --data ./data")
        @OptionGroup var options: RunningStoreOptions

        func run() throws { try EncryptionCommand.change(to: false, options) }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show whether links are encrypted, and try at each node whether it takes one that is not.",
            discussion: """
                A node that turns it away writes so to its log.

                Examples:
                  ringfort encryption status --data ./data
                  ringfort encryption status --data ./data --json
                """)
        @OptionGroup var options: RunningStoreOptions

        func run() throws {
            let identity = try ClusterDirectory(options.data).open()
            let clear = try NodeClient(identity: identity, encryption: .never)
            defer { clear.close() }
            try options.ask { client in
                let map = try client.map()
                let report = EncryptionReport(
                    map: map, versions: try client.client.versions(map), inTheClear: try clear.versions(map))
                if options.json { print(report.json.text) } else { report.show() }
            }
        }
    }

    /// So long a command waits for all nodes to hear of a change.
    private static let patience: UInt64 = 10_000_000_000
    private static let pause: useconds_t = 100_000

    private static func change(to isOn: Bool, _ options: RunningStoreOptions) throws {
        try options.ask { client in
            var map = try client.map()
            if map.encryptsLinks != isOn {
                if isOn { try checkAbility(map, client, options) }
                _ = try client.change(.encryptLinks(isOn))
                map = try client.map()
            }
            let end = MonotonicClock.system.nanoseconds + patience
            var unaware = try unaware(map, client)
            while !unaware.isEmpty, MonotonicClock.system.nanoseconds < end {
                usleep(pause)
                unaware = try Self.unaware(map, client)
            }
            report(map, unaware, json: options.json)
        }
    }

    /// A node whose program can't encrypt would be cut off.
    private static func checkAbility(
        _ map: ClusterMap, _ client: ClusterClient, _ options: RunningStoreOptions
    ) throws {
        let identity = try ClusterDirectory(options.data).open()
        let encrypted = try NodeClient(identity: identity, encryption: .required)
        defer { encrypted.close() }
        let able = try encrypted.versions(map)
        let there = try client.client.versions(map)
        let unable = map.nodes.filter { there[$0.id] != nil && able[$0.id] == nil }
        guard unable.isEmpty else {
            throw CommandError(
                "these nodes can't encrypt: \(unable.map(\.name).joined(separator: ", ")). Upgrade them first")
        }
    }

    /// Names of the nodes that do not say that they have the map.
    private static func unaware(_ map: ClusterMap, _ client: ClusterClient) throws -> [String] {
        let versions = try client.client.versions(map)
        return map.nodes.filter { (versions[$0.id] ?? 0) < map.version }.map(\.name)
    }

    private static func report(_ map: ClusterMap, _ unaware: [String], json: Bool) {
        if json {
            let value = JSONValue.object([
                JSONMember("encryption", .string(map.encryptsLinks ? "on" : "off")),
                JSONMember("map_version", .integer(Int(map.version))),
                JSONMember("unaware", .array(unaware.map { .string($0) })),
            ])
            return print(value.text)
        }
        let links = map.encryptsLinks ? "encrypted" : "in the clear"
        print("Links between the nodes are \(links) from now on (map version \(map.version)).")
        if !unaware.isEmpty {
            print(
                "Not heard by \(unaware.joined(separator: ", ")) yet: nodes that are away hear of it when they are back."
            )
        }
    }
}

/// What a cluster wants of its links, and what its nodes take.
struct EncryptionReport {
    let map: ClusterMap
    /// Versions of their maps, by node id; of nodes that answer.
    let versions: [String: UInt64]
    /// The same, of those that answer in the clear.
    let inTheClear: [String: UInt64]

    var json: JSONValue {
        .object([
            JSONMember("encryption", .string(map.encryptsLinks ? "on" : "off")),
            JSONMember("map_version", .integer(Int(map.version))),
            JSONMember(
                "nodes",
                .array(
                    map.nodes.map { node in
                        .object([
                            JSONMember("name", .string(node.name)),
                            JSONMember("reachable", .bool(versions[node.id] != nil)),
                            JSONMember("map_version", versions[node.id].map { .integer(Int($0)) } ?? .null),
                            JSONMember("takes_clear_links", .bool(inTheClear[node.id] != nil)),
                        ])
                    })),
        ])
    }

    func show() {
        let links = map.encryptsLinks ? "encrypted" : "in the clear"
        print("Links between the nodes are \(links) (map version \(map.version))\n")
        print("NODE                 MAP    IN THE CLEAR")
        for node in map.nodes {
            let version = versions[node.id]
            print(
                node.name.padded(20), (version.map { "\($0)" } ?? "-").padded(6),
                version == nil ? "unreachable" : inTheClear[node.id] == nil ? "refused" : "taken")
        }
    }
}

extension NodeClient {
    /// The version of the map of each node that can be reached, by node id.
    func versions(_ map: ClusterMap) throws -> [String: UInt64] {
        let asked = map.nodes.map {
            ($0, begin(.readMap(newerThan: .max), host: $0.host, port: $0.storagePort, timeout: .seconds(3)))
        }
        var versions: [String: UInt64] = [:]
        for (node, reply) in asked {
            guard case .mapStanding(let standing) = try reply.wait(), standing.node == Array(node.id.utf8) else {
                continue
            }
            versions[node.id] = standing.version
        }
        return versions
    }
}
