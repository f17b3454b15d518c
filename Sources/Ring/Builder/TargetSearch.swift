extension Placement {
    /// Which devices a search considers.
    enum Reach {
        /// Devices below their quota, within the plan.
        case lacking
        /// Any device, within the plan.
        case any
        /// Any device that does not hold the partition: rather together than not at all.
        case desperate
    }

    /// The device that a replica should go to if it leaves its own: tier by tier the one that lacks most. It stays inside
    /// the tiers that would have too few replicas of the partition without it.
    func target(for slot: Int, _ reach: Reach) -> Int? {
        target(for: slot, in: home(of: slot), reach)
    }

    /// The device that a replica without one should go to: rather to a tier that should have a replica of the partition and has none than
    /// to one that lacks replicas in general.
    func targetOfMissing(_ slot: Int) -> Int? {
        let partition = slot / columns
        for node in required
        where replicas(of: partition, in: node, at: tree.levels[node], except: slot) < plan.least[node] {
            if let found = target(for: slot, in: node, .lacking) ?? target(for: slot, in: node, .any) { return found }
        }
        return target(for: slot, in: 0, .lacking) ?? target(for: slot, in: 0, .any)
            ?? target(for: slot, in: 0, .desperate)
    }

    /// The devices a replica could go to, looked for in ever wider tiers around its own.
    func targetsNearby(_ slot: Int, _ reach: Reach) -> [Int] {
        let source = Int(slots[slot])
        var found = [Int]()
        for level in stride(from: TierTree.deviceLevel - 1, through: -1, by: -1) {
            let node = level < 0 ? 0 : tree.node(of: source, at: level)
            if let target = target(for: slot, in: node, reach), !found.contains(target) { found.append(target) }
        }
        return found
    }

    /// The innermost tier of a replica that needs it: the cluster if all can do without.
    private func home(of slot: Int) -> Int {
        guard slots[slot] != Self.none else { return 0 }
        let source = Int(slots[slot])
        for level in stride(from: TierTree.deviceLevel, through: 0, by: -1) {
            let node = tree.node(of: source, at: level)
            if plan.least[node] > 0,
                replicas(of: slot / columns, in: node, at: level, except: slot) < plan.least[node]
            {
                return node
            }
        }
        return 0
    }

    private func target(for slot: Int, in node: Int, _ reach: Reach) -> Int? {
        let device = tree.deviceOfNode[node]
        if device >= 0 { return device }
        let partition = slot / columns
        let level = tree.levels[node] + 1
        let mustFill = reach != .desperate && hasUnderfilledChild(node, partition, level, except: slot)
        // The best child usually leads to a device; only if not are the others tried.
        guard let best = bestChild(of: node, slot, level, reach, mustFill) else { return nil }
        if let found = target(for: slot, in: best, reach) { return found }
        for child in tree.children[node]
        where child != best && isCandidate(child, partition, level, slot, reach, mustFill) {
            if let found = target(for: slot, in: child, reach) { return found }
        }
        return nil
    }

    private func bestChild(
        of node: Int, _ slot: Int, _ level: Int, _ reach: Reach, _ mustFill: Bool
    ) -> Int? {
        let children = tree.children[node]
        let partition = slot / columns
        var best: Int?
        var bestScore = Int.min
        // Starting at another child for every slot spreads what is equal.
        var index = slot % max(1, children.count)
        for _ in children.indices {
            let child = children[index]
            index = index + 1 == children.count ? 0 : index + 1
            let score = need[child] > 0 ? need[child] : quota[child] - held[child] - (1 << 40)
            guard score > bestScore, isCandidate(child, partition, level, slot, reach, mustFill) else { continue }
            best = child
            bestScore = score
        }
        return best
    }

    private func isCandidate(
        _ child: Int, _ partition: Int, _ level: Int, _ slot: Int, _ reach: Reach, _ mustFill: Bool
    ) -> Bool {
        guard plan.most[child] > 0 else { return false }
        if reach == .lacking, need[child] == 0 { return false }
        if reach == .desperate, level < TierTree.deviceLevel { return true }
        let count = replicas(of: partition, in: child, at: level, except: slot)
        return count < (mustFill ? plan.least[child] : plan.most[child])
    }

    private func hasUnderfilledChild(_ node: Int, _ partition: Int, _ level: Int, except slot: Int) -> Bool {
        guard plan.least[node] > 0 else { return false }
        for child in tree.children[node] where plan.least[child] > 0 {
            if replicas(of: partition, in: child, at: level, except: slot) < plan.least[child] { return true }
        }
        return false
    }
}
