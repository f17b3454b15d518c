import Access
import ArgumentParser
import ClusterMap
import Daemon
import Ring

/// `ringfort token`: what lets a new node into the cluster.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make tokens that let new nodes into the cluster.",
        discussion: """
            Example:
              ringfort token create --data ./data --ttl 600
            """,
        subcommands: [Create.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token that lets one node in, once.",
            discussion: """
                Whoever holds the token until it expires can join the cluster and gets its secrets: hand it over as you
                would a password. Nothing is stored until it is used. The store may be running or not.

                Examples:
                  ringfort token create --data ./data
                  ringfort token create --data ./data --role storage --ttl 600 --json
                """)

        @Option(help: "The data directory of a node of the cluster.") var data: String
        @Option(help: "What the node will be: storage (devices), proxy (the API) or all.") var role: NodeRole = .all
        @Option(help: "For how many seconds the token is good.") var ttl = 3_600
        @Flag(help: "Answer as JSON.") var json = false

        private static let longest = 30 * 86_400

        func validate() throws {
            guard (1...Self.longest).contains(ttl) else {
                throw ValidationError("--ttl is a number of seconds from 1 to \(Self.longest)")
            }
        }

        func run() throws {
            let identity = try ClusterDirectory(data).open()
            let claim = JoinToken.Claim(
                id: try RandomBytes.make(16), role: role.tokenCode,
                expiry: UInt64(WallClock.system.seconds) + UInt64(ttl))
            let text = String(decoding: JoinToken(claim, clusterKey: identity.accessKey).text, as: UTF8.self)
            guard json else { return print(text) }
            let value = JSONValue.object([
                JSONMember("token", .string(text)), JSONMember("role", .string(role.rawValue)),
                JSONMember("expires", .integer(Int(claim.expiry))),
            ])
            print(value.text)
        }
    }
}

extension NodeRole: ExpressibleByArgument {
    /// The role inside a token.
    var tokenCode: UInt8 {
        switch self {
        case .storage: 1
        case .proxy: 2
        case .all: 3
        }
    }

    init?(tokenCode: UInt8) {
        guard let role = NodeRole.allCases.first(where: { $0.tokenCode == tokenCode }) else { return nil }
        self = role
    }
}
