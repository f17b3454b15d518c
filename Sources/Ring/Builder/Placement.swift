/// The assignments while a rebalance works on them, with the counts that tell which tier has too much and which too little.
///
/// Devices are dense numbers of the tree here, slots are `partition * columns + replica`.
final class Placement {
    /// A slot without a device: new, or not there at all because of a fractional number of replicas.
    static let none = UInt32.max
    /// In `before` only: the device has been removed.
    static let gone = UInt32.max - 1

    let tree: TierTree
    let plan: ReplicaPlan
    let partitions: Int
    /// Slots of a partition: as many as it has replicas now or should have, whichever is more.
    let columns: Int
    /// How many replicas partitions should have, and how many of them the last of these.
    let replicas: Int
    let lastReplicaCount: Int
    private(set) var slots: [UInt32]
    /// The slots as they were before the rebalance.
    let before: [UInt32]
    /// Partitions that moved too recently.
    let resting: [Bool]
    /// Slots by node: what it should hold, what it holds, and what its devices lack.
    let quota: [Int]
    private(set) var held: [Int]
    private(set) var need: [Int]
    /// Slots on devices above their quota.
    private(set) var surplus = 0
    /// Nodes that should hold a replica of every partition, innermost first.
    let required: [Int]

    init(
        tree: TierTree, plan: ReplicaPlan, partitions: Int, replicas: Int, lastReplicaCount: Int, columns: Int,
        slots: [UInt32], resting: [Bool]
    ) {
        self.tree = tree
        self.plan = plan
        self.partitions = partitions
        self.columns = columns
        self.replicas = replicas
        self.lastReplicaCount = lastReplicaCount
        self.resting = resting
        before = slots
        self.slots = slots.map { $0 == Self.gone ? Self.none : $0 }
        var counts = [Int](repeating: 0, count: tree.deviceCount)
        for device in self.slots where device != Self.none { counts[Int(device)] += 1 }
        held = tree.sums(of: counts)
        let total = partitions * (replicas - 1) + lastReplicaCount
        quota = Quotas(tree, plan, total: total, partitions: partitions, held: held).quota
        let quota = quota
        let held = held
        var lacks = [Int](repeating: 0, count: tree.deviceCount)
        for node in 0..<tree.nodeCount where tree.deviceOfNode[node] >= 0 {
            lacks[tree.deviceOfNode[node]] = max(0, quota[node] - held[node])
            surplus += max(0, held[node] - quota[node])
        }
        need = tree.sums(of: lacks)
        required = (1..<tree.nodeCount).filter { plan.least[$0] > 0 }.sorted { tree.levels[$0] > tree.levels[$1] }
    }

    /// Replicas a partition should have.
    @inline(__always)
    func replicas(of partition: Int) -> Int {
        partition < lastReplicaCount ? replicas : replicas - 1
    }

    /// The slots of a partition, those without a replica included.
    @inline(__always)
    func range(of partition: Int) -> Range<Int> {
        partition * columns..<(partition + 1) * columns
    }

    /// Whether a partition was on a device before the rebalance: going there moves nothing.
    @inline(__always)
    func isOriginal(_ device: Int, of partition: Int) -> Bool {
        range(of: partition).contains { before[$0] == UInt32(device) }
    }

    @inline(__always)
    func holds(_ partition: Int, _ device: Int) -> Bool {
        range(of: partition).contains { slots[$0] == UInt32(device) }
    }

    /// The devices a partition was on before and is not on any more.
    func leftDevices(of partition: Int) -> [Int] {
        range(of: partition).compactMap { slot in
            let device = before[slot]
            return device < Self.gone && !holds(partition, Int(device)) ? Int(device) : nil
        }
    }

    /// Whether the devices of a partition are others than before the rebalance.
    @inline(__always)
    func isChanged(_ partition: Int) -> Bool {
        range(of: partition).contains { slots[$0] != before[$0] }
    }

    /// Replicas of a partition on devices that are new to it.
    func moves(of partition: Int) -> Int {
        range(of: partition).count { slots[$0] != Self.none && !isOriginal(Int(slots[$0]), of: partition) }
    }

    /// Slots on a device.
    func held(by device: Int) -> Int {
        held[tree.node(of: device, at: TierTree.deviceLevel)]
    }

    /// Slots on a device above its quota (below it when negative).
    func excess(of device: Int) -> Int {
        let node = tree.node(of: device, at: TierTree.deviceLevel)
        return held[node] - quota[node]
    }

    /// Puts a slot on another device, or on none.
    func assign(_ slot: Int, _ device: UInt32) {
        let old = slots[slot]
        if old != Self.none { count(Int(old), -1) }
        slots[slot] = device
        if device != Self.none { count(Int(device), 1) }
    }

    /// Takes over a whole placement that meets every quota.
    func replaceAll(_ slots: [UInt32]) {
        self.slots = slots
        held = quota
        need = [Int](repeating: 0, count: need.count)
        surplus = 0
    }

    /// Exchanges the contents of two slots of one partition.
    func exchange(_ slot: Int, with other: Int) {
        slots.swapAt(slot, other)
    }

    private func count(_ device: Int, _ change: Int) {
        let leaf = tree.node(of: device, at: TierTree.deviceLevel)
        let before = held[leaf] - quota[leaf]
        let after = before + change
        let needChange = max(0, -after) - max(0, -before)
        surplus += max(0, after) - max(0, before)
        held[0] += change
        need[0] += needChange
        for level in 0..<TierTree.depth {
            let node = tree.node(of: device, at: level)
            held[node] += change
            need[node] += needChange
        }
    }

    /// Replicas of a partition in a tier, apart from one slot.
    @inline(__always)
    func replicas(of partition: Int, in node: Int, at level: Int, except slot: Int) -> Int {
        var count = 0
        let start = partition * columns
        for other in start..<start + columns where other != slot {
            let device = slots[other]
            if device < Self.gone, tree.node(of: Int(device), at: level) == node { count += 1 }
        }
        return count
    }

    /// How far a partition is from its plan: replicas above the most a tier should hold, and those missing to the least.
    func violations(of partition: Int) -> Int {
        var result = 0
        let start = partition * columns
        for slot in start..<start + columns where slots[slot] != Self.none {
            for level in 0..<TierTree.depth {
                let node = tree.node(of: Int(slots[slot]), at: level)
                // A drained device is a matter of quotas; counting each replica above the limit once per later slot.
                let earlier = replicasBefore(slot, of: partition, in: node, at: level)
                if earlier >= max(1, plan.most[node]) { result += 1 }
            }
        }
        for node in required {
            result += max(0, plan.least[node] - replicas(of: partition, in: node, at: tree.levels[node], except: -1))
        }
        return result
    }

    private func replicasBefore(_ slot: Int, of partition: Int, in node: Int, at level: Int) -> Int {
        var count = 0
        for other in partition * columns..<slot {
            let device = slots[other]
            if device != Self.none, tree.node(of: Int(device), at: level) == node { count += 1 }
        }
        return count
    }

    /// Whether a replica may go from its device to another one without breaking the plan of its partition.
    func allows(_ slot: Int, to target: Int) -> Bool {
        let partition = slot / columns
        let source = Int(slots[slot])
        for level in 0..<TierTree.depth {
            let to = tree.node(of: target, at: level)
            let from = tree.node(of: source, at: level)
            if to == from { continue }
            if replicas(of: partition, in: to, at: level, except: slot) >= plan.most[to] { return false }
            if replicas(of: partition, in: from, at: level, except: slot) < plan.least[from] { return false }
        }
        return true
    }
}
