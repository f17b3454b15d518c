import Access
import Daemon
import Ring

/// Which node of the cluster a data directory is, and how it was started last: `DIR/member.json`. What is not said again stays.
struct MemberFile: Equatable {
    /// 32 hexadecimal digits, random, made before the node asks to join: who asks twice is the same node.
    let node: String
    var listen: String?
    var advertise: String?
    var port: Int?
    var storagePort: Int?

    private static let maximumFile = 1 << 16
    private static let version = 1

    /// Reads the file of a directory; makes a new id where there is none.
    static func openOrCreate(_ directory: ClusterDirectory) throws -> MemberFile {
        let path = directory.file("member.json")
        if let bytes = try AtomicFile.read(path, limit: maximumFile) {
            guard let json = try? JSONValue(parsing: bytes) else { throw CommandError("\(path) is damaged") }
            try json.requireVersion(version, of: path)
            guard let node = json["node"]?.string, node.utf8.count == 32 else {
                throw CommandError("\(path) is damaged")
            }
            return MemberFile(
                node: node, listen: json["listen"]?.string, advertise: json["advertise"]?.string,
                port: json["port"]?.integer, storagePort: json["storage_port"]?.integer)
        }
        let file = MemberFile(node: String(decoding: ByteText.hex(try RandomBytes.make(16)), as: UTF8.self))
        try file.write(to: directory)
        return file
    }

    private init(
        node: String, listen: String? = nil, advertise: String? = nil, port: Int? = nil, storagePort: Int? = nil
    ) {
        self.node = node
        self.listen = listen
        self.advertise = advertise
        self.port = port
        self.storagePort = storagePort
    }

    func write(to directory: ClusterDirectory) throws {
        var members = [JSONMember("version", .integer(Self.version)), JSONMember("node", .string(node))]
        if let listen { members.append(JSONMember("listen", .string(listen))) }
        if let advertise { members.append(JSONMember("advertise", .string(advertise))) }
        if let port { members.append(JSONMember("port", .integer(port))) }
        if let storagePort { members.append(JSONMember("storage_port", .integer(storagePort))) }
        try AtomicFile.write(JSONValue.object(members).encoded, to: directory.file("member.json"), mode: 0o600)
    }
}
