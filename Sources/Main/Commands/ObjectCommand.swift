import Access
import ArgumentParser
import Glibc
import Proxy
import Ring
import StorageWire

/// `ringfort object`: single objects as an operator looks at them.
struct ObjectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "object", abstract: "Look at single objects.",
        discussion: "Example: ringfort object where --data ./data AUTH_admin/demo/README.md",
        subcommands: [Where.self])

    struct Where: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show where an object belongs and what each place holds of it.",
            discussion: """
                Prints the partition, the devices of its copies, the devices that stand in for them, and the version that
                each has. With a store running, the devices are asked; without one, only the places are shown.

                Example:
                  ringfort object where --data ./data AUTH_admin/demo/README.md
                """)

        @Option(help: "The data directory of the store.") var data: String
        @Flag(help: "Answer as JSON.") var json = false
        @Argument(help: "ACCOUNT/CONTAINER/OBJECT, the account with its prefix (AUTH_...).") var name: String

        func run() throws {
            let directory = ClusterDirectory(data)
            let identity = try directory.open()
            let parts = name.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else {
                throw ValidationError("\(name) is not ACCOUNT/CONTAINER/OBJECT")
            }
            let hash = identity.hasher.hash(
                account: Array(parts[0].utf8), container: Array(parts[1].utf8), object: Array(parts[2].utf8))
            let ring = try directory.ring("object")
            let partition = ring.partition(of: hash)
            let primaries = try holdings(ring.primaries(of: partition).map { $0 }, ring, hash, directory, identity)
            let handoffs = try holdings(
                Array(ring.handoffs(of: partition).prefix(primaries.count)), ring, hash, directory, identity)
            show(partition, hash, primaries, handoffs)
        }

        struct Holding {
            var device: RingDevice
            var holds: JSONValue
            var text: String
        }

        private func holdings(
            _ ids: [Int], _ ring: Ring, _ hash: PathHash, _ directory: ClusterDirectory, _ identity: ClusterIdentity
        ) throws -> [Holding] {
            let client = try NodeClient(identity: identity)
            defer { client.close() }
            return try ids.compactMap { id in
                guard let device = ring.devices[id] else { return nil }
                let address = ObjectAddress(device: UInt16(truncatingIfNeeded: id), policy: 0, hash: hash)
                let reply = try client.ask(
                    .readObject(ReadObject(address: address, wanted: .head, isOwn: true)),
                    host: device.ip, port: device.port)
                return Self.describe(reply, device)
            }
        }

        private static func describe(_ reply: StorageReply, _ device: RingDevice) -> Holding {
            func holding(_ state: String, _ more: [JSONMember] = [], _ text: String = "") -> Holding {
                Holding(
                    device: device, holds: .object([JSONMember("state", .string(state))] + more),
                    text: state + text)
            }
            switch reply {
            case .absent: return holding("absent")
            case .tombstone(let timestamp):
                let time = String(decoding: SwiftTimestamp.header(timestamp.ticks), as: UTF8.self)
                return holding("deleted", [JSONMember("timestamp", .string(time))], " at \(time)")
            case .object(let object):
                let time = String(decoding: SwiftTimestamp.header(object.timestamp.ticks), as: UTF8.self)
                let etag = (try? ObjectHead(decoding: object.head)).map { ByteText.hex($0.etag) } ?? []
                return holding(
                    "live",
                    [
                        JSONMember("timestamp", .string(time)), JSONMember("bytes", .integer(Int(object.bodyLength))),
                        JSONMember("etag", .string(String(decoding: etag, as: UTF8.self))),
                    ], " at \(time), \(object.bodyLength) bytes, etag \(String(decoding: etag, as: UTF8.self))")
            case .failed(let failure):
                return holding("unknown", [JSONMember("reason", .string("\(failure.reason)"))], " (\(failure.reason))")
            default: return holding("unknown")
            }
        }

        private func show(_ partition: Int, _ hash: PathHash, _ primaries: [Holding], _ handoffs: [Holding]) {
            if json {
                func list(_ holdings: [Holding]) -> JSONValue {
                    .array(
                        holdings.map {
                            .object([JSONMember("device", $0.device.json), JSONMember("holds", $0.holds)])
                        })
                }
                let value = JSONValue.object([
                    JSONMember("name", .string(name)), JSONMember("hash", .string(hash.hex)),
                    JSONMember("partition", .integer(partition)), JSONMember("primaries", list(primaries)),
                    JSONMember("handoffs", list(handoffs)),
                ])
                return print(String(decoding: value.encoded, as: UTF8.self))
            }
            print("partition \(partition), hash \(hash.hex)")
            for (kind, holdings) in [("primary", primaries), ("handoff", handoffs)] {
                for holding in holdings {
                    let device = holding.device
                    print(
                        kind,
                        "r\(device.region)z\(device.zone)-\(device.ip):\(device.port)/\(device.device)".padded(32),
                        holding.text)
                }
            }
        }
    }
}
