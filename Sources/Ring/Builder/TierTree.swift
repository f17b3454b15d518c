/// The failure domains of a ring as a tree: the cluster, its regions, their zones, their nodes, their devices.
///
/// Nodes and devices have dense numbers; node 0 is the cluster. Devices marked for removal are not in it.
struct TierTree {
    /// Levels below the cluster; the last one is the device itself.
    static let depth = 4
    static let deviceLevel = 3

    /// For each node the numbers of its children; a device has none.
    private(set) var children: [[Int]] = [[]]
    /// For each node its level, with -1 for the cluster, 0 for regions and so on.
    private(set) var levels: [Int] = [-1]
    /// For each node the device it is, -1 for other nodes.
    private(set) var deviceOfNode: [Int] = [-1]
    /// For each dense device number its nodes from region to device, `depth` numbers each.
    private(set) var paths: [Int] = []
    /// For each dense device number the id in the ring.
    private(set) var ids: [Int] = []
    private(set) var weights: [Double] = []

    init(devices: [RingDevice?], without removed: Set<Int>) {
        struct Key: Hashable {
            var parent: Int
            var number = 0
            var ip = ""
        }
        var known = [Key: Int]()
        for case let device? in devices where !removed.contains(device.id) {
            var parent = 0
            for level in 0..<Self.depth {
                var key = Key(parent: parent)
                switch level {
                case 0: key.number = device.region
                case 1: key.number = device.zone
                case 2: key.ip = device.ip
                default: key.number = device.id
                }
                let node = known[key] ?? append(to: parent, level: level)
                known[key] = node
                paths.append(node)
                parent = node
            }
            deviceOfNode[parent] = ids.count
            ids.append(device.id)
            weights.append(device.weight)
        }
    }

    var nodeCount: Int { children.count }
    var deviceCount: Int { ids.count }

    /// The node of a device at a level.
    @inline(__always)
    func node(of device: Int, at level: Int) -> Int {
        paths[device &* Self.depth &+ level]
    }

    /// Sums a value of the devices for every node.
    func sums<Value: AdditiveArithmetic>(of values: [Value]) -> [Value] {
        var result = [Value](repeating: .zero, count: nodeCount)
        for (device, value) in values.enumerated() {
            result[0] += value
            for level in 0..<Self.depth { result[node(of: device, at: level)] += value }
        }
        return result
    }

    private mutating func append(to parent: Int, level: Int) -> Int {
        let node = children.count
        children.append([])
        levels.append(level)
        deviceOfNode.append(-1)
        children[parent].append(node)
        return node
    }
}
