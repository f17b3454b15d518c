import Access
import ArgumentParser
import Daemon
import Ring

/// `ringfort user`: the v1 users of a store.
struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Manage the users that sign in with v1 authentication.",
        discussion: """
            A user is written ACCOUNT:USER and has the storage account AUTH_ACCOUNT. Users belong to the cluster: the
            commands work on any node of it, and a change is in force on all that can be reached within two seconds. A
            node that is away, or this one if its store is not running, takes part in it when it is back. Of two changes
            to one user the later one counts. A changed key or a removed user ends the tokens that were given out.

            Examples:
              ringfort user add --data ./data photos:ann --role .admin
              ringfort user list --data ./data --json
              ringfort user set-key --data ./data photos:ann --key "a better one"
              ringfort user remove --data ./data photos:ann
            """,
        subcommands: [Add.self, Remove.self, List.self, SetKey.self])

    struct Options: ParsableArguments {
        @Option(help: "The data directory of the store.")
        var data: String

        @Flag(help: "Answer as JSON.")
        var json = false

        func store() throws -> UserStore {
            let directory = ClusterDirectory(data)
            return directory.users(try directory.openOrCreate())
        }
    }

    /// ACCOUNT:USER taken apart.
    struct Name: ExpressibleByArgument {
        var account: [UInt8]
        var user: [UInt8]

        init?(argument: String) {
            let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
            account = Array(parts[0].utf8)
            user = Array(parts[1].utf8)
        }

        var text: String { String(decoding: account + [UInt8(ascii: ":")] + user, as: UTF8.self) }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user.",
            discussion: """
                Without --key a random one is made and printed. Roles: .admin owns the account; .reseller_admin may act on
                every account; .service is the second party of composite requests. Without a role a user may do what
                ACLs allow.

                Example: ringfort user add --data ./data photos:ann --role .admin
                """)
        @OptionGroup var options: Options
        @Argument(help: "ACCOUNT:USER") var name: Name
        @Option(help: "The user's key (password).") var key: String?
        @Option(name: .customLong("role"), help: "A role; may be given more than once.") var roles: [String] = []

        func run() throws {
            var set: UserRoles = []
            for role in roles {
                guard let known = UserRoles(name: role) else {
                    throw ValidationError("there is no role \(role): .admin, .reseller_admin and .service are")
                }
                set.formUnion(known)
            }
            let key = try key.map { Array($0.utf8) } ?? RandomBytes.makeKeyText()
            try edit(try options.store()) { users throws(UserFile.Failure) in
                try users.add(
                    account: name.account, name: name.user, key: key, roles: set,
                    now: WallClock.system.ticks)
            }
            report(
                options, name,
                key: self.key == nil ? String(decoding: key, as: UTF8.self) : nil, done: "added")
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a user.",
            discussion: """
                The user's tokens end; what is stored in the account stays.

                Example: ringfort user remove --data ./data photos:ann
                """)
        @OptionGroup var options: Options
        @Argument(help: "ACCOUNT:USER") var name: Name

        func run() throws {
            try edit(try options.store()) { users throws(UserFile.Failure) in
                try users.remove(account: name.account, name: name.user, now: WallClock.system.ticks)
            }
            report(options, name, key: nil, done: "removed")
        }
    }

    struct SetKey: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-key", abstract: "Give a user another key.",
            discussion: """
                Tokens that were given out before end. Without --key a random one is made and printed.

                Example: ringfort user set-key --data ./data photos:ann
                """)
        @OptionGroup var options: Options
        @Argument(help: "ACCOUNT:USER") var name: Name
        @Option(help: "The new key.") var key: String?

        func run() throws {
            let key = try key.map { Array($0.utf8) } ?? RandomBytes.makeKeyText()
            try edit(try options.store()) { users throws(UserFile.Failure) in
                try users.setKey(
                    account: name.account, name: name.user, key: key, now: WallClock.system.ticks)
            }
            report(
                options, name,
                key: self.key == nil ? String(decoding: key, as: UTF8.self) : nil, done: "changed")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the users and their roles; keys are not shown.",
            discussion: "Example: ringfort user list --data ./data --json (the same as JSON, for scripts)")
        @OptionGroup var options: Options

        func run() throws {
            let users: [UserFile.User]
            do { users = try options.store().load().list } catch { throw CommandError("\(error)") }
            if options.json {
                let list = users.map { user in
                    JSONValue.object([
                        JSONMember("user", .string(String(decoding: user.qualifiedName, as: UTF8.self))),
                        JSONMember("roles", .array(user.roles.names.map { .string($0) })),
                        JSONMember("created", .integer(Int(user.created / UserFile.ticksPerSecond))),
                        JSONMember("changed", .integer(Int(user.changed / UserFile.ticksPerSecond))),
                    ])
                }
                return print(String(decoding: JSONValue.array(list).encoded, as: UTF8.self))
            }
            for user in users {
                print(String(decoding: user.qualifiedName, as: UTF8.self), user.roles.names.joined(separator: " "))
            }
        }
    }

    private static func edit(
        _ store: UserStore, _ change: (inout UserFile) throws(UserFile.Failure) -> Void
    ) throws {
        do { try store.edit(change) } catch { throw CommandError("\(store.path): \(error)") }
    }

    private static func report(_ options: Options, _ name: Name, key: String?, done: String) {
        if options.json {
            var members = [JSONMember("user", .string(name.text)), JSONMember(done, .bool(true))]
            if let key { members.append(JSONMember("key", .string(key))) }
            return print(String(decoding: JSONValue.object(members).encoded, as: UTF8.self))
        }
        print(name.text, done)
        if let key { print("key: \(key)") }
    }
}
