import Ring
package import StorageWire

/// How far the data of a cluster has followed its rings, by what its nodes say of their devices. A value without I/O.
///
/// All is settled when every node of the map works with the rings of the map, and for every device both replicators have been through with those
/// rings and left nothing: it is behind in no partition, and what does not belong on it is where it belongs. A node that does not answer may
/// have anything, so nothing is settled without it, unless it is removed.
package struct Settling: Sendable {
    /// One device of the map.
    package struct Device: Sendable {
        package var device: MapDevice
        package var node: MapNode
        /// What its node says of it; nil when that does not answer, or does not serve the device.
        package var status: DeviceStatus?
        /// Replicas of partitions of all three rings that are on it.
        package var partitions: Int
        package var isSettled: Bool
    }

    /// In the order of the map.
    package let devices: [Device]
    /// What is not as it should be yet, one short sentence for each node or device; empty: all is settled.
    package let obstacles: [String]
    /// Whether a change of the map is waiting for the data to settle.
    package let isExpected: Bool

    package var isSettled: Bool { obstacles.isEmpty }

    /// Nothing moves, and nothing is waiting to.
    package var isDone: Bool { isSettled && !isExpected }

    /// - Parameter statuses: what those nodes have answered that could be asked, by their ids.
    package init(_ map: ClusterMap, statuses: [String: NodeStatus]) {
        let parts = map.builders.all.map(\.partsByDevice)
        devices = map.devices.map { device in
            let status = statuses[device.node]?.devices.first { Int($0.device) == device.id }
            return Device(
                device: device, node: map.node(device.node) ?? map.nodes[0], status: status,
                partitions: parts.reduce(0) { $0 + ($1.indices.contains(device.id) ? $1[device.id] : 0) },
                isSettled: status.map { Self.obstacle($0, version: map.version) == nil } ?? false)
        }
        obstacles = map.nodes.flatMap { Self.obstacles($0, statuses[$0.id], in: map) }
        isExpected = map.previous != nil
    }

    /// What is not as it should be on one node.
    ///
    /// - Parameter status: nil when the node does not answer.
    package static func obstacles(_ node: MapNode, _ status: NodeStatus?, in map: ClusterMap) -> [String] {
        guard let status else { return ["node \(node.name) does not answer"] }
        guard status.ringsVersion == map.version else {
            return ["node \(node.name) still works with the rings of map version \(status.ringsVersion)"]
        }
        return map.devices(of: node.id).compactMap { device in
            guard let found = status.devices.first(where: { Int($0.device) == device.id }) else {
                return "device \(node.name)/\(device.name) is not served"
            }
            return obstacle(found, version: map.version).map { "device \(node.name)/\(device.name) \($0)" }
        }
    }

    private static func obstacle(_ device: DeviceStatus, version: UInt64) -> String? {
        if device.behindPartitions > 0 { return "is behind in \(device.behindPartitions) partitions" }
        let left = device.misplacedObjects + device.misplacedTables
        if left > 0 { return "has \(left) objects and tables that belong elsewhere" }
        return device.settledVersion == Int64(clamping: version)
            ? nil : "has not been through with the newest rings, or a replicator is paused"
    }
}
