package import Ring

/// Why bytes are not a cluster map.
package struct ClusterMapError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// Of a format that this program does not know.
    static func otherFormat(_ what: String, _ found: UInt8, known: UInt8) -> ClusterMapError {
        let writer = found > known ? "a newer" : "an older"
        return ClusterMapError(
            "\(what) has format \(found), and this program knows \(known): \(writer) ringfort wrote it. Start that one")
    }
}

extension ClusterMap {
    private static let magic = Array("RFMAP".utf8)
    private static let format: UInt8 = 1

    /// The map as it travels and lies on disk: `Documentation/formats/cluster-map.md`.
    package func encoded() -> [UInt8] {
        var bytes = Self.magic + [Self.format]
        bytes.append(block: metadata.encoded)
        for builder in builders.all { bytes.append(block: BuilderFile.encode(builder)) }
        if let previous {
            for ring in previous.all { bytes.append(block: RingFile.encode(ring)) }
        }
        return bytes
    }

    /// Reads a map. Whatever the bytes are, the result is a sound map or an error.
    package init(decoding bytes: [UInt8]) throws(ClusterMapError) {
        var reader = BlockReader(bytes)
        guard try reader.take(Self.magic.count) == Self.magic else { throw ClusterMapError("not a cluster map") }
        let format = try reader.take(1)[0]
        guard format == Self.format else { throw .otherFormat("the cluster map", format, known: Self.format) }
        let json: JSONValue
        let text = try reader.block()
        do { json = try JSONValue(parsing: text) } catch {
            throw ClusterMapError("the cluster map is damaged: \(error)")
        }
        var builders: [RingBuilder] = []
        for _ in PerRing<RingBuilder>.names {
            let block = try reader.block()
            do { builders.append(try BuilderFile.decode(block)) } catch { throw ClusterMapError("\(error)") }
        }
        var previous: [Ring] = []
        for _ in PerRing<Ring>.names where !reader.isAtEnd || !previous.isEmpty {
            let block = try reader.block()
            do { previous.append(try RingFile.decode(block)) } catch { throw ClusterMapError("\(error)") }
        }
        guard reader.isAtEnd else { throw ClusterMapError("the cluster map is damaged: bytes are left over") }
        try self.init(
            json,
            builders: PerRing(account: builders[0], container: builders[1], object: builders[2]),
            previous: previous.isEmpty
                ? nil : PerRing(account: previous[0], container: previous[1], object: previous[2]))
    }

    private init(
        _ json: JSONValue, builders: PerRing<RingBuilder>, previous: PerRing<Ring>?
    ) throws(ClusterMapError) {
        guard let version = json["version"]?.integer, version > 0, let clusterID = json["cluster_id"]?.string,
            let nextDevice = json["next_device"]?.integer, (0...Limit.devices).contains(nextDevice)
        else { throw ClusterMapError("the cluster map lacks version, cluster_id or next_device") }
        var nodes: [MapNode] = []
        for value in json["nodes"]?.array ?? [] {
            guard let node = MapNode(json: value) else { throw ClusterMapError("the cluster map has a broken node") }
            nodes.append(node)
        }
        var devices: [MapDevice] = []
        for value in json["devices"]?.array ?? [] {
            guard let device = MapDevice(json: value), device.id < nextDevice,
                nodes.contains(where: { $0.id == device.node })
            else { throw ClusterMapError("the cluster map has a broken device") }
            devices.append(device)
        }
        guard nodes.count <= Limit.nodes, Set(nodes.map(\.id)).count == nodes.count,
            Set(devices.map(\.id)).count == devices.count
        else { throw ClusterMapError("the cluster map has too many nodes, or one twice") }
        var used: [UsedToken] = []
        for value in json["used_tokens"]?.array ?? [] {
            guard let id = value["id"]?.string, let expiry = value["expiry"]?.integer, let node = value["node"]?.string
            else { throw ClusterMapError("the cluster map has a broken token") }
            used.append(UsedToken(id: id, expiry: expiry, node: node))
        }
        self.init(
            version: UInt64(version), clusterID: clusterID, nodes: nodes, devices: devices, nextDevice: nextDevice,
            builders: builders, previous: previous, usedTokens: used,
            recentChanges: (json["recent_changes"]?.array ?? []).compactMap(\.string),
            encryptsLinks: json["encryption"] == .bool(true))
    }

    private var metadata: JSONValue {
        .object([
            JSONMember("version", .integer(Int(version))), JSONMember("cluster_id", .string(clusterID)),
            JSONMember("nodes", .array(nodes.map(\.json))), JSONMember("devices", .array(devices.map(\.json))),
            JSONMember("next_device", .integer(nextDevice)),
            JSONMember(
                "used_tokens",
                .array(
                    usedTokens.map {
                        .object([
                            JSONMember("id", .string($0.id)), JSONMember("expiry", .integer($0.expiry)),
                            JSONMember("node", .string($0.node)),
                        ])
                    })),
            JSONMember("recent_changes", .array(recentChanges.map { .string($0) })),
            JSONMember("encryption", .bool(encryptsLinks)),
        ])
    }
}

extension MapNode {
    package var json: JSONValue {
        .object([
            JSONMember("id", .string(id)), JSONMember("name", .string(name)), JSONMember("host", .string(host)),
            JSONMember("storage_port", .integer(storagePort)), JSONMember("api_port", .integer(apiPort)),
            JSONMember("role", .string(role.rawValue)), JSONMember("region", .integer(region)),
            JSONMember("zone", .integer(zone)), JSONMember("state", .string(state.rawValue)),
        ])
    }

    /// `nil` when a member is missing or out of range.
    package init?(json: JSONValue) {
        guard let id = json["id"]?.string, id.utf8.count == 32, let name = json["name"]?.string, Self.isName(name),
            let host = json["host"]?.string, (1...ClusterMap.Limit.host).contains(host.utf8.count),
            let storagePort = json["storage_port"]?.integer, (1...65_535).contains(storagePort),
            let apiPort = json["api_port"]?.integer, (0...65_535).contains(apiPort),
            let role = json["role"]?.string.flatMap({ NodeRole(rawValue: $0) }),
            let region = json["region"]?.integer, region >= 0, let zone = json["zone"]?.integer, zone >= 0,
            let state = json["state"]?.string.flatMap({ PlaceState(rawValue: $0) })
        else { return nil }
        self.init(
            id: id, name: name, host: host, storagePort: storagePort, apiPort: apiPort, role: role, region: region,
            zone: zone, state: state)
    }

    /// Whether a text can name a node or a device: 1 to 64 letters, digits, `.`, `-` and `_`.
    package static func isName(_ text: String) -> Bool {
        (1...ClusterMap.Limit.name).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

extension MapDevice {
    package var json: JSONValue {
        .object([
            JSONMember("id", .integer(id)), JSONMember("node", .string(node)), JSONMember("name", .string(name)),
            JSONMember("path", .string(path)), JSONMember("weight", .number(weight)),
            JSONMember("state", .string(state.rawValue)),
        ])
    }

    /// `nil` when a member is missing or out of range.
    package init?(json: JSONValue) {
        guard let id = json["id"]?.integer, (0..<ClusterMap.Limit.devices).contains(id),
            let node = json["node"]?.string, let name = json["name"]?.string, MapNode.isName(name),
            let path = json["path"]?.string, (1...ClusterMap.Limit.path).contains(path.utf8.count),
            let weight = json["weight"]?.double, weight >= 0, weight.isFinite,
            let state = json["state"]?.string.flatMap({ PlaceState(rawValue: $0) })
        else { return nil }
        self.init(id: id, node: node, name: name, path: path, weight: weight, state: state)
    }
}

/// Bytes with a 32-bit length before them, one after the other.
struct BlockReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func take(_ count: Int) throws(ClusterMapError) -> [UInt8] {
        guard count <= bytes.count - position else { throw ClusterMapError("the cluster map is cut off") }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    mutating func block() throws(ClusterMapError) -> [UInt8] {
        try take(try take(4).reduce(0) { $0 << 8 | Int($1) })
    }
}

extension [UInt8] {
    mutating func append(block: [UInt8]) {
        let count = UInt32(block.count)
        for shift in [24, 16, 8, 0] as [UInt32] { append(UInt8(truncatingIfNeeded: count >> shift)) }
        append(contentsOf: block)
    }
}
