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
    let columns: Int
    let lastColumnCount: Int
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
        tree: TierTree, plan: ReplicaPlan, partitions: Int, columns: Int, lastColumnCount: Int, slots: [UInt32],
        resting: [Bool]
    ) {
        self.tree = tree
        self.plan = plan
        self.partitions = partitions
        self.columns = columns
        self.lastColumnCount = lastColumnCount
        self.resting = resting
        before = slots
        self.slots = slots.map { $0 == Self.gone ? Self.none : $0 }
        var counts = [Int](repeating: 0, count: tree.deviceCount)
        for device in self.slots where device != Self.none { counts[Int(device)] += 1 }
        held = tree.sums(of: counts)
        let total = columns == 0 ? 0 : partitions * (columns - 1) + lastColumnCount
        quota = Self.quotas(tree, plan, total: total, partitions: partitions, held: held)
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

    /// Replicas of a partition.
    @inline(__always)
    func replicas(of partition: Int) -> Int {
        partition < lastColumnCount ? columns : columns - 1
    }

    /// Slots on a device above its quota (below it when negative).
    func excess(of device: Int) -> Int {
        let node = tree.node(of: device, at: TierTree.deviceLevel)
        return held[node] - quota[node]
    }

    /// Neither resting nor changed in this rebalance.
    func isMovable(_ partition: Int) -> Bool {
        guard !resting[partition] else { return false }
        let start = partition * columns
        for slot in start..<start + replicas(of: partition) where slots[slot] != before[slot] { return false }
        return true
    }

    /// Puts a slot on another device, or on none.
    func assign(_ slot: Int, _ device: UInt32) {
        let old = slots[slot]
        if old != Self.none { count(Int(old), -1) }
        slots[slot] = device
        if device != Self.none { count(Int(device), 1) }
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

extension Placement {
    /// Rounds the plan to whole slots so that every tier gets what its children get. What cannot be divided stays where it is, if it
    /// can, so that rounding never moves anything.
    private static func quotas(
        _ tree: TierTree, _ plan: ReplicaPlan, total: Int, partitions: Int, held: [Int]
    ) -> [Int] {
        var quota = [Int](repeating: 0, count: tree.nodeCount)
        quota[0] = total
        // The fraction of a replica is rounded down to whole partitions: scale the plan to what there is.
        let scale = plan.target[0] > 0 ? Double(total) / plan.target[0] : 0
        for node in 0..<tree.nodeCount where !tree.children[node].isEmpty {
            let children = tree.children[node].filter { plan.target[$0] > 0 }
            var left = quota[node]
            var fractions = [(child: Int, keeps: Bool, fraction: Double)]()
            for child in children {
                let exact = min(plan.target[child] * scale, Double(plan.most[child] * partitions))
                let whole = Int((exact + 1e-6).rounded(.down))
                quota[child] = whole
                left -= whole
                fractions.append((child, held[child] > whole, exact - Double(whole)))
            }
            guard !fractions.isEmpty else { continue }
            fractions.sort { first, second in
                let divisible = (first.fraction > 1e-6, second.fraction > 1e-6)
                if divisible.0 != divisible.1 { return divisible.0 }
                if first.keeps != second.keeps { return first.keeps }
                return first.fraction != second.fraction ? first.fraction > second.fraction : first.child < second.child
            }
            var next = 0
            while left > 0 {
                let child = fractions[next % fractions.count].child
                // Rounding errors aside a tier never gets more than one replica of each partition above its least.
                if quota[child] < plan.most[child] * partitions || next >= fractions.count {
                    quota[child] += 1
                    left -= 1
                }
                next += 1
            }
        }
        return quota
    }
}
