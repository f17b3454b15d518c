import Access
import Daemon
import Glibc
import Ring

/// What makes a cluster one: its id, the key its nodes share, and the secret ends of every hashed path.
struct ClusterIdentity {
    var clusterID: String
    var key: [UInt8]
    var hashPrefix: [UInt8]
    var hashSuffix: [UInt8]

    var accessKey: ClusterKey { ClusterKey(secret: key) }
    var hasher: PathHasher { PathHasher(prefix: hashPrefix, suffix: hashSuffix) }
}

extension ClusterIdentity {
    /// With the key: a secret.
    var json: JSONValue {
        .object([
            JSONMember("version", .integer(Self.version)),
            JSONMember("cluster_id", .string(clusterID)),
            JSONMember("key", .string(String(decoding: ByteText.hex(key), as: UTF8.self))),
            JSONMember("hash_prefix", .string(String(decoding: hashPrefix, as: UTF8.self))),
            JSONMember("hash_suffix", .string(String(decoding: hashSuffix, as: UTF8.self))),
        ])
    }

    static let version = 1

    /// `nil` when it is not of this version.
    init?(json: JSONValue) {
        guard json["version"]?.integer == Self.version, let id = json["cluster_id"]?.string,
            let key = json["key"]?.string.flatMap({ ByteText.bytes(hex: $0.utf8) }),
            let prefix = json["hash_prefix"]?.string, let suffix = json["hash_suffix"]?.string
        else { return nil }
        self.init(clusterID: id, key: key, hashPrefix: Array(prefix.utf8), hashSuffix: Array(suffix.utf8))
    }
}

/// Why a command could not do what it was asked, in words for who typed it.
struct CommandError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// The directory that a cluster's rings, secrets and users live in.
///
///     DIR/cluster.json                 id, key, hash prefix and suffix (0600)
///     DIR/users.json                   the v1 users (0600)
///     DIR/member.json                  which node this is, and how it was started (0600)
///     DIR/cluster.map                  nodes, devices and rings, and what this node has promised about them (0600)
///     DIR/{account,container,object}.ring.gz, .builder
///     DIR/credentials.env              how to sign in (0600)
///     DIR/node.json                    where the running store can be asked
///     DIR/devices/NAME/                the devices of this node
struct ClusterDirectory {
    let path: String

    private static let maximumFile = 1 << 20

    init(_ path: String) { self.path = path }

    func file(_ name: String) -> String { path + "/" + name }

    /// Makes the directory, and the secrets of a new cluster if it has none.
    func openOrCreate() throws -> ClusterIdentity {
        try Self.makeDirectory(path)
        if let identity = try load() { return identity }
        // Another identity would make everything that is there unreadable.
        guard Glibc.access(file("users.json"), F_OK) != 0 else {
            throw CommandError("\(file("cluster.json")) is missing, but users.json is there: put the file back")
        }
        let identity = ClusterIdentity(
            clusterID: String(decoding: ByteText.hex(try RandomBytes.make(16)), as: UTF8.self),
            key: try RandomBytes.make(32), hashPrefix: ByteText.hex(try RandomBytes.make(16)),
            hashSuffix: ByteText.hex(try RandomBytes.make(16)))
        try write(identity)
        return identity
    }

    func write(_ identity: ClusterIdentity) throws {
        try AtomicFile.write(identity.json.encoded, to: file("cluster.json"), mode: 0o600)
    }

    /// The identity of a cluster that must be there.
    func open() throws -> ClusterIdentity {
        guard let identity = try load() else {
            throw CommandError("there is no cluster in \(path): `ringfort up --data \(path)` makes one")
        }
        return identity
    }

    /// The identity of the cluster, `nil` when there is none yet.
    func load() throws -> ClusterIdentity? {
        guard let bytes = try AtomicFile.read(file("cluster.json"), limit: Self.maximumFile) else { return nil }
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch { throw CommandError("\(file("cluster.json")): \(error)") }
        try json.requireVersion(ClusterIdentity.version, of: file("cluster.json"))
        guard let identity = ClusterIdentity(json: json) else {
            throw CommandError("\(file("cluster.json")) is damaged")
        }
        return identity
    }

    func users(_ identity: ClusterIdentity) -> UserStore {
        UserStore(path: file("users.json"), clusterKey: identity.accessKey)
    }

    func ring(_ name: String) throws -> Ring {
        let path = file("\(name).ring.gz")
        guard let bytes = try AtomicFile.read(path, limit: RingFile.Limit.fileBytes) else {
            throw CommandError("there is no ring \(path): `ringfort ring create` and `rebalance` make one")
        }
        do { return try RingFile.decode(bytes) } catch { throw CommandError("\(path): \(error)") }
    }

    static func makeDirectory(_ path: String) throws {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: true) {
            made += (made.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
            if mkdir(made, 0o700) != 0, errno != EEXIST {
                throw CommandError("can't make the directory \(made): \(String(cString: strerror(errno)))")
            }
        }
    }
}

extension JSONValue {
    /// Refuses a file of a format that this program does not know.
    ///
    /// - Parameter known: the only one that it does.
    func requireVersion(_ known: Int, of path: String) throws {
        guard let found = self["version"]?.integer else { throw CommandError("\(path) is damaged: it has no version") }
        guard found != known else { return }
        let writer = found > known ? "a newer" : "an older"
        throw CommandError(
            "\(path) has format \(found), and this program knows \(known): \(writer) ringfort wrote it. Start that one")
    }
}

extension CommandError {
    /// The system's words for an error number.
    static func systemText(_ code: Int32) -> String { String(cString: strerror(code)) }
}
