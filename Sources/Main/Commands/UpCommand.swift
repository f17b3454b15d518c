import Access
import ArgumentParser
import ClusterMap
import Daemon
import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// `ringfort up`: a whole store in one process.
struct UpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Start a store: proxy, object, container and account servers in one process.",
        discussion: """
            Makes what is missing under the data directory (devices, rings, keys, a first user) and starts again on
            what it finds there. Prints one line that begins with "ready" when it answers, and how to sign in is
            written to DIR/credentials.env. SIGTERM or Ctrl-C finishes running requests and exits with 0.

            The store is a cluster of one node. Others join it (`ringfort token create`, `ringfort join`) if it listens
            on an address that they can reach; --storage-port is where they do. Ports and addresses that are not given
            are those of the last start.

            Examples:
              ringfort up --data ./data
              ringfort up --data /srv/ringfort --listen 10.0.0.1 --port 8080 --devices 8
            """)

    @Option(help: "The directory that holds everything.")
    var data: String

    @OptionGroup var server: ServerOptions
    @OptionGroup var replication: ReplicationOptions

    @OptionGroup var places: MemberOptions

    @Option(help: "How many devices a new store has (4). Each is a folder: mount disks there if you like.")
    var devices: Int?

    @Option(help: "How many copies a new store keeps (3).")
    var replicas: Int?

    @Flag(
        help: ArgumentHelp(
            "Encrypt the links between the nodes of a new store.",
            discussion: "Of one that is there, `ringfort encryption` changes that."))
    var encrypt = false

    @Option(help: "The name of the node in a new store (that of the machine).")
    var name: String?

    func validate() throws {
        if let name, !MapNode.isName(name) {
            throw ValidationError("--name has 1 to 64 letters, digits, dots, dashes and underscores")
        }
        guard (1...1_000).contains(devices ?? 4) else { throw ValidationError("--devices is a number from 1 to 1000") }
        guard (1...16).contains(replicas ?? 3) else { throw ValidationError("--replicas is a number from 1 to 16") }
    }

    func run() throws {
        let directory = ClusterDirectory(data)
        let process = try ServerProcess(directory: directory, log: try server.makeLog())
        let identity = try directory.openOrCreate()
        var file = try MemberFile.openOrCreate(directory)
        let places = places.settle(&file, listen: server.givenListen)
        let member = try Member(
            directory: directory, identity: identity, nodeID: file.node, places: places, process: process)
        file.storagePort = member.storagePort
        let isFounding = member.map.map == nil
        if isFounding { try found(member, places) }
        try checkShape(member)
        let firstKey = try addFirstUser(member)
        try file.write(to: directory)
        try MemberRun(
            member: member, places: places, process: process, replication: replication.times
        ).run(
            isFounding: isFounding, firstKey: firstKey, data: data, json: server.json)
    }

    /// Makes the map of a cluster of one from the rings, which are made first where there are none.
    private func found(_ member: Member, _ places: MemberOptions.Places) throws {
        let directory = member.directory
        let node = MapNode(
            id: member.map.nodeID, name: name ?? MemberOptions.machineName, host: places.host,
            storagePort: member.storagePort, apiPort: places.port, role: .all, region: 1, zone: 1)
        let builders = PerRing(
            account: try builder("account", in: directory), container: try builder("container", in: directory),
            object: try builder("object", in: directory))
        do {
            try member.map.found(
                try ClusterMap.first(
                    clusterID: member.identity.clusterID, node: node, builders: builders, encryptsLinks: encrypt))
        } catch { throw CommandError("the rings in \(data) can't become a cluster's: \(error)") }
    }

    /// The key of the first user, when it was made just now. A node among others gets the users that it lacks from them.
    private func addFirstUser(_ member: Member) throws -> [UInt8]? {
        let store = member.directory.users(member.identity)
        let users: UserFile
        do { users = try store.load() } catch { throw CommandError("\(store.path): \(error)") }
        guard users.isEmpty, member.map.map?.nodes.count == 1 else { return nil }
        let key = try RandomBytes.makeKeyText()
        try store.edit { users throws(UserFile.Failure) in
            try users.add(
                account: Array("admin".utf8), name: Array("admin".utf8), key: key, roles: [.admin],
                now: WallClock.system.ticks)
        }
        return key
    }

    /// What a store was made with stays; asking for something else is a mistake that should be heard.
    private func checkShape(_ member: Member) throws {
        guard let map = member.map.map else { return }
        guard !encrypt || map.encryptsLinks else {
            throw CommandError(
                "the links of this store are not encrypted: start it without --encrypt, and then "
                    + "`ringfort encryption on --data \(data)`")
        }
        let present = map.devices(of: member.map.nodeID).count
        if let devices, devices != present {
            throw CommandError(
                "this node has \(present) devices, not \(devices): start it without --devices, and see `ringfort device`"
            )
        }
        let copies = map.builders.object.replicas
        if let replicas, Double(replicas) != copies {
            throw CommandError("this store keeps \(copies) copies, not \(replicas): start it without --replicas")
        }
    }

    /// Devices are zones of their own: copies land on different ones. A builder that is there knows where the data is.
    private func builder(_ name: String, in directory: ClusterDirectory) throws -> RingBuilder {
        let builderFile = directory.file("\(name).builder")
        if let bytes = try AtomicFile.read(builderFile, limit: RingFile.Limit.fileBytes) {
            do { return try BuilderFile.decode(bytes) } catch { throw CommandError("\(builderFile): \(error)") }
        }
        guard access(directory.file("\(name).ring.gz"), F_OK) != 0 else {
            throw CommandError(
                "\(builderFile) is missing, but its ring is there: put it back, it is what rings are made from")
        }
        var builder = try RingBuilder(partPower: Self.partPower, replicas: Double(replicas ?? 3), minPartHours: 1)
        for number in 1...(devices ?? 4) {
            _ = try builder.add(
                RingDevice(
                    zone: number, ip: "127.0.0.1", port: MemberOptions.defaultStoragePort, device: "d\(number)",
                    weight: 100))
        }
        // The same seed for all three: a container's rows are then beside its objects no more often than chance has it.
        _ = try builder.rebalance(now: Int(WallClock.system.seconds), seed: UInt64(name.utf8.count))
        return builder
    }

    /// Room for some thousand devices later: partitions can't be split yet.
    private static let partPower = 14
}

/// What a store tells when it answers, and how to sign in.
struct ReadyLine {
    let listen: String
    let port: Int
    let data: String

    /// The address to use from this machine.
    private var host: String { listen == "0.0.0.0" || listen == "::" ? "127.0.0.1" : listen }
    private var url: String { "http://\(host):\(port)" }

    /// How to call python-swiftclient: where the first `swift` on the path is the compiler, by its module.
    private var client: String {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let first = path.split(separator: ":").first { access($0 + "/swift", X_OK) == 0 }
        let isCompiler = first.map { access($0 + "/swiftc", X_OK) == 0 } ?? false
        return isCompiler ? "python3 -m swiftclient.shell" : "swift"
    }

    /// The key of the first user, as an earlier start has written it.
    static func firstKey(in directory: ClusterDirectory) throws -> [UInt8]? {
        let bytes = try AtomicFile.read(directory.file("credentials.env"), limit: 1 << 16) ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix("export ST_KEY=") }.map { Array($0.utf8.dropFirst("export ST_KEY=".utf8.count)) }
    }

    /// Written anew with each start, since the port may be another; the key of the first user is kept as it was.
    func writeCredentials(to directory: ClusterDirectory, firstKey: [UInt8]?) throws {
        let path = directory.file("credentials.env")
        guard let bytes = try firstKey ?? Self.firstKey(in: directory) else { return }
        let key = String(decoding: bytes, as: UTF8.self)
        let text = """
            export ST_AUTH=\(url)/auth/v1.0
            export ST_USER=admin:admin
            export ST_KEY=\(key)
            export OS_STORAGE_URL=\(url)/v1/AUTH_admin

            """
        try AtomicFile.write(Array(text.utf8), to: path, mode: 0o600)
    }

    func print(json: Bool) {
        if json {
            let line = JSONValue.object([
                JSONMember("ready", .bool(true)), JSONMember("url", .string(url)),
                JSONMember("auth", .string(url + "/auth/v1.0")),
                JSONMember("credentials", .string(data + "/credentials.env")),
            ])
            Swift.print("ready " + String(decoding: line.encoded, as: UTF8.self))
        } else {
            Swift.print("ready \(url) (credentials in \(data)/credentials.env)")
            Swift.print(
                """

                  Swift API  \(url)/v1/AUTH_admin     metrics  \(url)/metrics     health  \(url)/healthcheck
                  Sign in    . \(data)/credentials.env

                Try (pip install python-swiftclient):
                  . \(data)/credentials.env
                  \(client) upload demo README.md
                  \(client) list demo
                  \(client) download demo README.md -o -
                """)
        }
        Terminal.flush()
    }
}
