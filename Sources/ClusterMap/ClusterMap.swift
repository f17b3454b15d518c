package import Ring

/// One thing for each of the three rings.
package struct PerRing<Element> {
    package var account: Element
    package var container: Element
    package var object: Element

    package init(account: Element, container: Element, object: Element) {
        self.account = account
        self.container = container
        self.object = object
    }

    /// The names of the rings, as their files have them.
    package static var names: [String] { ["account", "container", "object"] }

    package var all: [Element] { [account, container, object] }

    package func map<Result, Failure: Error>(
        _ body: (Element) throws(Failure) -> Result
    ) throws(Failure) -> PerRing<Result> {
        PerRing<Result>(account: try body(account), container: try body(container), object: try body(object))
    }

    /// Changes each of them.
    package mutating func forEach<Failure: Error>(_ body: (inout Element) throws(Failure) -> Void) throws(Failure) {
        try body(&account)
        try body(&container)
        try body(&object)
    }
}

extension PerRing: Sendable where Element: Sendable {}
extension PerRing: Equatable where Element: Equatable {}

/// The nodes of a cluster, their devices and the rings: what every node has the same idea of. A new version replaces the whole.
///
/// `Documentation/formats/cluster-map.md` has the bytes.
package struct ClusterMap: Sendable {
    /// Counts the changes, from 1.
    package var version: UInt64
    package var clusterID: String
    package var nodes: [MapNode]
    package var devices: [MapDevice]
    /// The id of the next device: ids are not given twice, since old rings may still be in use.
    package var nextDevice: Int
    package var builders: PerRing<RingBuilder>
    /// Where data may still be: the rings before the last change that moved anything, or before the first of several while the partitions that
    /// it moved rest. `nil` when nothing has moved, or when the data is known to be where it belongs.
    package var previous: PerRing<Ring>?
    package var usedTokens: [UsedToken]
    /// The ids of the newest changes, so that one whose outcome was not heard is not made twice.
    package var recentChanges: [String]
    /// Whether links between the nodes have to be encrypted.
    package var encryptsLinks: Bool

    package init(
        version: UInt64, clusterID: String, nodes: [MapNode], devices: [MapDevice], nextDevice: Int,
        builders: PerRing<RingBuilder>, previous: PerRing<Ring>? = nil, usedTokens: [UsedToken] = [],
        recentChanges: [String] = [], encryptsLinks: Bool = false
    ) {
        self.version = version
        self.clusterID = clusterID
        self.nodes = nodes
        self.devices = devices
        self.nextDevice = nextDevice
        self.builders = builders
        self.previous = previous
        self.usedTokens = usedTokens
        self.recentChanges = recentChanges
        self.encryptsLinks = encryptsLinks
    }

    /// The rings as they are now.
    package var rings: PerRing<Ring> { builders.map { $0.ring() } }

    package func node(_ id: String) -> MapNode? { nodes.first { $0.id == id } }

    package func devices(of node: String) -> [MapDevice] { devices.filter { $0.node == node } }

    /// Limits of what a map may hold.
    package enum Limit {
        package static let nodes = 1_000
        /// Device ids travel in 16 bits.
        package static let devices = 1 << 16
        package static let usedTokens = 10_000
        static let recentChanges = 64
        /// Characters of a name, a host and a path.
        static let name = 64
        static let host = 255
        static let path = 1_024
    }
}

/// What a node is for.
package enum NodeRole: String, CaseIterable, Sendable {
    /// Devices, and no API.
    case storage
    /// The API, and no devices.
    case proxy
    case all

    package var hasDevices: Bool { self != .proxy }
    package var hasAPI: Bool { self != .storage }
}

/// Whether a node or a device is to be used.
package enum PlaceState: String, CaseIterable, Sendable {
    case active
    /// Its data goes elsewhere; it still serves what it has.
    case draining
}

/// One member of the cluster.
package struct MapNode: Equatable, Sendable {
    /// 32 hexadecimal digits, random.
    package var id: String
    /// For people; unique in the cluster.
    package var name: String
    /// Where others reach it.
    package var host: String
    package var storagePort: Int
    /// The port for clients, 0 without one.
    package var apiPort: Int
    package var role: NodeRole
    package var region: Int
    package var zone: Int
    package var state: PlaceState

    package init(
        id: String, name: String, host: String, storagePort: Int, apiPort: Int, role: NodeRole, region: Int, zone: Int,
        state: PlaceState = .active
    ) {
        self.id = id
        self.name = name
        self.host = host
        self.storagePort = storagePort
        self.apiPort = apiPort
        self.role = role
        self.region = region
        self.zone = zone
        self.state = state
    }
}

/// One device of a node.
package struct MapDevice: Equatable, Sendable {
    /// As in the rings.
    package var id: Int
    /// The id of the node that has it.
    package var node: String
    /// Unique on its node.
    package var name: String
    /// Absolute, or relative to the data directory of the node.
    package var path: String
    /// What it holds compared with others when it is active.
    package var weight: Double
    package var state: PlaceState

    package init(id: Int, node: String, name: String, path: String, weight: Double, state: PlaceState = .active) {
        self.id = id
        self.node = node
        self.name = name
        self.path = path
        self.weight = weight
        self.state = state
    }
}

/// A join token that has been used, kept until it would have expired.
package struct UsedToken: Equatable, Sendable {
    package var id: String
    /// Seconds since 1970.
    package var expiry: Int
    /// The id of the node that used it: the same node may ask again.
    package var node: String

    package init(id: String, expiry: Int, node: String) {
        self.id = id
        self.expiry = expiry
        self.node = node
    }
}
