package import Ring

/// Something to be changed in a cluster, as a command asks for it.
package enum MapChange: Equatable, Sendable {
    /// A new member with its devices; the token that let it in counts as used from then on.
    case addNode(MapNode, devices: [NewDevice], token: UsedToken)
    /// The node is reached elsewhere from now on.
    case moveNode(id: String, host: String, storagePort: Int, apiPort: Int)
    /// What the node's devices hold goes to the others.
    case drainNode(name: String)
    /// The node and its devices leave; without `force` only when no partition is on them.
    case removeNode(name: String, force: Bool)
    case addDevice(node: String, NewDevice)
    case drainDevice(id: Int)
    case removeDevice(id: Int, force: Bool)
    /// An empty disk takes the place of the device's: it keeps its id and its partitions, and is filled from the other replicas.
    case replaceDevice(id: Int, path: String)
    /// Also ends draining.
    case setWeight(id: Int, weight: Double)
    /// Moves what an earlier change could not move yet. `settled` says that the data of all earlier changes is where it belongs, so that every
    /// partition may move again.
    case rebalance(settled: Bool)
    /// As `rebalance(settled: true)`, if that version of the map is still the newest: it is for the rings of that version that all data was found
    /// where it belongs.
    case settle(version: UInt64)
    /// Links between nodes have to be encrypted from now on, or need not be.
    case encryptLinks(Bool)
}

/// A device that has no id yet.
package struct NewDevice: Equatable, Sendable {
    package var name: String
    package var path: String
    package var weight: Double

    package init(name: String, path: String, weight: Double) {
        self.name = name
        self.path = path
        self.weight = weight
    }
}

/// Why a change cannot be made, for who asked for it.
package struct MapRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The map that a change makes.
package struct ChangedMap: Sendable {
    package var map: ClusterMap
    /// Replicas of partitions that get another device, by ring.
    package var moved: PerRing<Int>
    /// Partitions that had to stay, since an earlier change has moved them and their data may be under way.
    package var resting: PerRing<Int>

    package var result: ChangeResult {
        ChangeResult(
            version: map.version, moved: moved.all, unmoved: map.builders.all.map(Self.unmoved),
            resting: resting.all)
    }

    /// Replicas that are on devices without a weight.
    private static func unmoved(_ builder: RingBuilder) -> Int {
        let parts = builder.partsByDevice
        return builder.devices.compactMap { $0 }.reduce(0) { $0 + ($1.weight == 0 ? parts[$1.id] : 0) }
    }
}

/// What a change has done, for who asked for it.
package struct ChangeResult: Equatable, Sendable {
    package var version: UInt64
    /// Replicas of partitions that move, for account, container and object ring.
    package var moved: [Int]
    /// Replicas that still are on draining devices.
    package var unmoved: [Int]
    /// Partitions that had to stay, since an earlier change has moved them.
    package var resting: [Int]

    package init(version: UInt64, moved: [Int], unmoved: [Int], resting: [Int]) {
        self.version = version
        self.moved = moved
        self.unmoved = unmoved
        self.resting = resting
    }

    package var json: JSONValue {
        .object([
            JSONMember("version", .integer(Int(version))), JSONMember("moved", Self.members(moved)),
            JSONMember("unmoved", Self.members(unmoved)), JSONMember("resting", Self.members(resting)),
        ])
    }

    package init?(json: JSONValue) {
        guard let version = json["version"]?.integer, version > 0 else { return nil }
        func numbers(_ name: String) -> [Int] { PerRing<Int>.names.compactMap { json[name]?[$0]?.integer } }
        self.init(
            version: UInt64(version), moved: numbers("moved"), unmoved: numbers("unmoved"),
            resting: numbers("resting"))
    }

    private static func members(_ numbers: [Int]) -> JSONValue {
        .object(zip(PerRing<Int>.names, numbers).map { JSONMember($0, .integer($1)) })
    }
}
