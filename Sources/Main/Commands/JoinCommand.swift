import Access
import ArgumentParser
import ClusterMap
import Daemon
import NIOCore
import Ring
import StorageWire

/// `ringfort join`: a further node of a running cluster.
struct JoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join",
        abstract: "Join a running cluster as a further node, and serve it.",
        discussion: """
            URL is any proxy of the cluster. The token comes from `ringfort token create` on a node that is in; it says
            what the node will be. The node gets the cluster's secrets (encrypted for the holder of the token), is given
            its part of the partitions, and prints one line that begins with "ready" when it answers. A join that fails
            can be tried again with the same token and directory. Once joined, the node starts without a token, by
            this command or by `ringfort up --data DIR`.

            Other nodes have to reach this one: listen on an address that they can, or name one with --advertise.

            Examples:
              ringfort join http://10.0.0.1:8080 --token TOKEN --data /srv/ringfort --listen 10.0.0.2
              ringfort join http://10.0.0.1:8080 --token TOKEN --data ./data --device /disks/a --device /disks/b --zone 2
              ringfort join http://10.0.0.1:8080 --data /srv/ringfort
            """)

    @Argument(help: "A proxy of the cluster, http://HOST:PORT.") var url: String
    @Option(help: "The token; not needed once the node has joined.") var token: String?
    @Option(help: "The data directory of this node.") var data: String
    @OptionGroup var server: ServerOptions
    @OptionGroup var replication: ReplicationOptions
    @OptionGroup var places: MemberOptions
    @Option(name: .customLong("device"), help: "A folder on a disk; may be given more than once (DIR/devices/d1).")
    var devices: [String] = []
    @Option(help: "The region of the node, a number.") var region = 1
    @Option(help: "The zone of the node, a number; without one it is a zone of its own.") var zone: Int?
    @Option(help: "The name of the node (that of the machine).") var name: String?

    func validate() throws {
        guard region >= 1, zone.map({ $0 >= 1 }) ?? true else {
            throw ValidationError("--region and --zone are numbers from 1 on")
        }
        if let name, !MapNode.isName(name) {
            throw ValidationError("--name has 1 to 64 letters, digits, dots, dashes and underscores")
        }
        if places.advertise == nil, let listen = server.givenListen, listen == "0.0.0.0" || listen == "::" {
            throw ValidationError("--listen \(listen) does not say where others reach this node: add --advertise HOST")
        }
    }

    func run() throws {
        let directory = ClusterDirectory(data)
        let process = try ServerProcess(directory: directory, log: try server.makeLog())
        var file = try MemberFile.openOrCreate(directory)
        let places = places.settle(&file, listen: server.givenListen)
        let member: Member
        if let identity = try directory.load() {
            member = try Member(
                directory: directory, identity: identity, nodeID: file.node, places: places, process: process)
        } else {
            let token = try parsedToken()
            let answer = try askIn(token, node: file.node)
            member = try Member(
                directory: directory, identity: answer.identity, nodeID: file.node, places: places, process: process)
            try becomeMember(member, token, answer, places)
            try AtomicFile.write(answer.users, to: directory.file("users.json"), mode: 0o600)
            if token.claim.role != NodeRole.storage.tokenCode {
                // Written again with the right port when the node answers.
                try ReadyLine(listen: places.listen, port: places.port, data: data)
                    .writeCredentials(to: directory, firstKey: answer.firstKey)
            }
            // Last: from here on the node starts without a token.
            try directory.write(answer.identity)
        }
        file.storagePort = member.storagePort
        try file.write(to: directory)
        try MemberRun(
            member: member, places: places, process: process, replication: replication.times
        ).run(
            isFounding: false, firstKey: nil, data: data, json: server.json)
    }

    private func parsedToken() throws -> JoinToken {
        guard let token else {
            throw CommandError(
                "\(data) has not joined a cluster: give --token (`ringfort token create` on a node of the cluster)")
        }
        guard let parsed = JoinToken(text: token.utf8) else {
            throw CommandError("the token is damaged: copy all of what `ringfort token create` printed")
        }
        guard parsed.claim.expiry > UInt64(WallClock.system.seconds) else {
            throw CommandError("the token has expired: make another with `ringfort token create`")
        }
        return parsed
    }

    /// Shows the token to a proxy and gets the secrets of the cluster.
    private func askIn(_ token: JoinToken, node: String) throws -> JoinAnswer {
        let request = JoinRequest(token: token, node: node, nonce: try RandomBytes.make(JoinToken.nonceLength))
        let post = try PlainPost(url: url, path: JoinRequest.path)
        let (status, body) = try post.send(request.body, limit: JoinAnswer.maximumBody)
        guard status == 200 else {
            let reason = String(decoding: body.prefix(500), as: UTF8.self).split(separator: "\n").first ?? ""
            throw CommandError("\(url) does not let this node in (\(status)): \(reason)")
        }
        return try JoinAnswer(body: body, request: request, token: token)
    }

    /// Has a member propose this node, and takes over the map that has it.
    private func becomeMember(
        _ member: Member, _ token: JoinToken, _ answer: JoinAnswer, _ places: MemberOptions.Places
    ) throws {
        guard let role = NodeRole(tokenCode: token.claim.role) else {
            throw CommandError("the token is for a role that this version does not know")
        }
        let change = MapChange.addNode(
            MapNode(
                id: member.map.nodeID, name: name ?? MemberOptions.machineName + "-" + member.map.nodeID.prefix(6),
                host: places.host, storagePort: member.storagePort, apiPort: role.hasAPI ? places.port : 0, role: role,
                region: region, zone: zone ?? 0),
            devices: role.hasDevices ? try newDevices() : [],
            token: UsedToken(
                id: String(decoding: ByteText.hex(token.claim.id), as: UTF8.self), expiry: Int(token.claim.expiry),
                node: member.map.nodeID))
        var problem = "it has no members"
        for known in answer.members.prefix(5) {
            let client = try NodeClient(identity: answer.identity)
            defer { client.close() }
            let reply = try client.ask(
                .changeMap(ByteBuffer(bytes: change.json.encoded)), host: known.host, port: known.port,
                timeout: NodeClient.changeTimeout)
            switch reply {
            case .mapChanged:
                guard
                    case .map(let standing, let value) = try client.ask(
                        .readMap(newerThan: 0), host: known.host, port: known.port)
                else { throw CommandError("\(known.host):\(known.port) has let this node in and then went away") }
                _ = try member.map.learn(standing.version, Array(value.readableBytesView))
                return
            case .failed(let failure) where failure.reason == .refused:
                throw CommandError("the cluster does not take this node: \(failure.detail)")
            case .failed(let failure):
                problem = "\(known.host):\(known.port): \(failure.reason) \(failure.detail)"
            default: problem = "\(known.host):\(known.port) gave an answer that makes no sense"
            }
        }
        throw CommandError("no member of the cluster can be asked for other nodes: \(problem)")
    }

    private func newDevices() throws -> [NewDevice] {
        guard !devices.isEmpty else { return [NewDevice(name: "d1", path: "devices/d1", weight: 100)] }
        return try devices.map { try NewDevice(folder: $0, weight: 100) }
    }
}

extension NewDevice {
    /// A device in a folder, named as the folder is.
    init(folder: String, weight: Double) throws {
        guard folder.hasPrefix("/") else { throw CommandError("\(folder) is not an absolute path") }
        let name = folder.split(separator: "/").last.map(String.init) ?? ""
        guard MapNode.isName(name) else {
            throw CommandError(
                "the last part of \(folder) names the device: letters, digits, dots, dashes, underscores")
        }
        self.init(name: name, path: folder, weight: weight)
    }
}
