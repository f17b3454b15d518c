import ArgumentParser
import Ring

struct RingLookupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup", abstract: "Show where names live.",
        discussion: """
            A name is account, account/container or account/container/object; a slash before it changes nothing. Prefix and suffix are the \
            cluster's secrets (swift_hash_path_prefix and _suffix in OpenStack Swift's swift.conf); without the right ones \
            the answer is wrong. Any ring file will do, OpenStack Swift's too.

            Example:
              ringfort ring lookup object.ring.gz /AUTH_test/photos/cat.jpg --suffix changeme
            """)

    @Argument(help: "The ring file.", completion: .file(extensions: ["gz"])) var file: String
    @Argument(help: "Names, such as account/container/object.") var names: [String]
    @Option(help: "The cluster's hash path prefix.") var prefix: String = ""
    @Option(help: "The cluster's hash path suffix.") var suffix: String = ""
    @Flag(help: "Print JSON, with all handoffs.") var json = false

    /// Handoffs printed as text.
    private static let shownHandoffs = 5

    func validate() throws {
        for name in names {
            let parts = Self.path(name).split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
            guard !parts.dropFirst().contains("") else {
                throw ValidationError("'\(name)' is not account, account/container or account/container/object")
            }
        }
    }

    func run() throws {
        let bytes = try RingFileAccess.read(file)
        let ring: Ring
        do { ring = try RingFile.decode(bytes) } catch { throw RingFailure("\(file): \(error)") }
        let hasher = PathHasher(prefix: Array(prefix.utf8), suffix: Array(suffix.utf8))
        let places = names.map { name in
            let hash = hasher.hash(path: Self.path(name).utf8)
            return (name: name, hash: hash, partition: ring.partition(of: hash))
        }
        if json {
            print(JSONValue.array(places.map { value($0.name, $0.partition, ring) }).text)
            return
        }
        for place in places {
            print("\(place.name)\n  partition \(place.partition), hash \(place.hash.hex)")
            for id in ring.primaries(of: place.partition) { print("  primary  \(line(ring.devices[id]))") }
            for id in ring.handoffs(of: place.partition).prefix(Self.shownHandoffs) {
                print("  handoff  \(line(ring.devices[id]))")
            }
        }
    }

    /// What is hashed: the name behind one slash.
    private static func path(_ name: String) -> String { name.hasPrefix("/") ? name : "/" + name }

    private func value(_ name: String, _ partition: Int, _ ring: Ring) -> JSONValue {
        func list(_ ids: some Sequence<Int>) -> JSONValue { .array(ids.map { ring.devices[$0]?.json ?? .null }) }
        return .object([
            JSONMember("name", .string(name)), JSONMember("partition", .integer(partition)),
            JSONMember("primaries", list(ring.primaries(of: partition))),
            JSONMember("handoffs", list(ring.handoffs(of: partition))),
        ])
    }

    private func line(_ device: RingDevice?) -> String {
        guard let device else { return "" }
        return """
            device \(device.id): \(device.device) on \(device.ip):\(device.port), region \(device.region), zone \(device.zone)
            """
    }
}
