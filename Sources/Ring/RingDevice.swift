/// One storage device of a ring: a disk, where it is, how to reach it, and how much it should hold.
///
/// The fields are those of OpenStack Swift's device dictionaries; `attributes` keeps any others a ring file carries.
package struct RingDevice: Hashable, Sendable {
    /// The index of the device in the ring's list, from 0.
    package var id: Int
    /// The outermost failure domain, usually a site.
    package var region: Int
    /// The failure domain inside a region, usually a rack or a room.
    package var zone: Int
    /// The address of the node: devices with the same region, zone and address fail together.
    package var ip: String
    package var port: Int
    /// The name of the device on its node, such as `sdb1`.
    package var device: String
    /// How much this device should hold, relative to the others; 0 drains it.
    package var weight: Double
    /// Free text for the operator.
    package var meta: String
    /// The address for replication traffic.
    package var replicationIP: String
    package var replicationPort: Int
    /// Members of the device dictionary this version does not know, kept as they were read.
    package var attributes: [JSONMember]

    package init(
        id: Int = 0, region: Int = 1, zone: Int, ip: String, port: Int, device: String, weight: Double,
        meta: String = "", replicationIP: String? = nil, replicationPort: Int? = nil, attributes: [JSONMember] = []
    ) {
        self.id = id
        self.region = region
        self.zone = zone
        self.ip = ip
        self.port = port
        self.device = device
        self.weight = weight
        self.meta = meta
        self.replicationIP = replicationIP ?? ip
        self.replicationPort = replicationPort ?? port
        self.attributes = attributes
    }

    /// The device dictionary as ring files hold it, with its members sorted by name.
    package var json: JSONValue {
        var members: [JSONMember] = [
            JSONMember("device", .string(device)),
            JSONMember("id", .integer(id)),
            JSONMember("ip", .string(ip)),
            JSONMember("meta", .string(meta)),
            JSONMember("port", .integer(port)),
            JSONMember("region", .integer(region)),
            JSONMember("replication_ip", .string(replicationIP)),
            JSONMember("replication_port", .integer(replicationPort)),
            JSONMember("weight", .number(weight)),
            JSONMember("zone", .integer(zone)),
        ]
        if !attributes.isEmpty {
            members += attributes
            members.sort { $0.name < $1.name }
        }
        return .object(members)
    }

    private static let known: Set<String> = [
        "device", "id", "ip", "meta", "port", "region", "replication_ip", "replication_port", "weight", "zone",
    ]

    /// Reads a device dictionary; `nil` when a required member is missing, of the wrong type or out of range.
    ///
    /// `region` defaults to 1 and the replication address to the main one, as OpenStack Swift reads old rings.
    package init?(json: JSONValue) {
        guard case .object(let members) = json,
            let id = json["id"]?.integer, id >= 0,
            let zone = json["zone"]?.integer,
            let ip = json["ip"]?.string,
            let port = json["port"]?.integer, (0...65535).contains(port),
            let device = json["device"]?.string,
            let weight = json["weight"]?.double, weight >= 0, weight.isFinite,
            let region = (json["region"] ?? .integer(1)).integer,
            let meta = (json["meta"] ?? .string("")).string
        else { return nil }
        let replicationPort = (json["replication_port"] ?? .integer(port)).integer ?? port
        guard (0...65535).contains(replicationPort) else { return nil }
        self.init(
            id: id, region: region, zone: zone, ip: ip, port: port, device: device, weight: weight, meta: meta,
            replicationIP: (json["replication_ip"] ?? .string(ip)).string ?? ip, replicationPort: replicationPort,
            attributes: members.filter { !Self.known.contains($0.name) })
    }
}
