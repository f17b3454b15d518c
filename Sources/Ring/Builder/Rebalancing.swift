/// Changes a placement until every device holds its quota, moving as little as possible.
///
/// First it works out where everything should end, whatever the number of moves of a partition: replicas too many go; replicas without
/// a device get one; partitions with replicas too close together move some; devices with too much give to those with too
/// little, directly where a partition allows it, and else by the chains of `ChainSearch`. Then it carries out one move of each partition. The next
/// rebalance comes to the same end and goes on from there: moves that were chosen one by one would often have to be made twice.
struct Rebalancing {
    private let placement: Placement
    private var random: RandomSource

    init(_ placement: Placement, random: RandomSource) {
        self.placement = placement
        self.random = random
    }

    mutating func run() {
        dropSuperfluous()
        assignMissing()
        spreadApart()
        balance()
        for partition in 0..<placement.partitions where placement.isChanged(partition) {
            placement.keepOneMove(of: partition)
            placement.restoreOrder(of: partition)
        }
    }

    /// Where partitions should have fewer replicas than they have, takes those from the fullest devices that are missed least.
    private mutating func dropSuperfluous() {
        guard placement.columns > placement.replicas || placement.lastReplicaCount < placement.partitions else {
            return
        }
        for partition in partitionsFromAnywhere() {
            let range = placement.range(of: partition)
            var superfluous = range.count { placement.before[$0] != Placement.none } - placement.replicas(of: partition)
            guard superfluous > 0 else { continue }
            superfluous -= range.count { placement.before[$0] == Placement.gone }
            for _ in 0..<max(0, superfluous) {
                let candidates = slotsByExcess(partition)
                let losses = candidates.map { slot in
                    let device = placement.slots[slot]
                    placement.assign(slot, Placement.none)
                    defer { placement.assign(slot, device) }
                    return placement.violations(of: partition)
                }
                guard let best = losses.indices.min(by: { losses[$0] < losses[$1] }) else { break }
                placement.assign(candidates[best], Placement.none)
            }
            placement.closeGaps(of: partition)
        }
    }

    private mutating func assignMissing() {
        for partition in partitionsFromAnywhere() {
            let start = partition * placement.columns
            for slot in start..<start + placement.replicas(of: partition) where placement.slots[slot] == Placement.none
            {
                if let target = placement.targetOfMissing(slot) { placement.assign(slot, UInt32(target)) }
            }
        }
    }

    private mutating func spreadApart() {
        for partition in partitionsFromAnywhere() where !placement.resting[partition] {
            var violations = placement.violations(of: partition)
            var moves = 0
            while violations > 0, moves < placement.replicas {
                let slots = slotsByExcess(partition)
                guard
                    slots.contains(where: { improve($0, violations, .lacking) })
                        || slots.contains(where: { improve($0, violations, .any) })
                else { break }
                violations = placement.violations(of: partition)
                moves += 1
            }
        }
    }

    /// Moves a replica if that brings its partition closer to the plan.
    private func improve(_ slot: Int, _ violations: Int, _ reach: Placement.Reach) -> Bool {
        let source = placement.slots[slot]
        for target in placement.targetsNearby(slot, reach) {
            placement.assign(slot, UInt32(target))
            if placement.violations(of: slot / placement.columns) < violations { return true }
            placement.assign(slot, source)
        }
        return false
    }

    private mutating func balance() {
        guard placement.surplus > 0 else { return }
        var search = ChainSearch(placement)
        search.run(.free)
        for limit in 1...placement.replicas where placement.surplus > 0 { moveDirectly(limit: limit) }
        search = ChainSearch(placement)
        search.run(.firstMoves)
        search.run(.moves)
        search.takeBackMoves()
    }

    /// Moves replicas of partitions with fewer than `limit` moves from devices with too much to devices with too little.
    private mutating func moveDirectly(limit: Int) {
        for partition in partitionsFromAnywhere() {
            if placement.surplus == 0 { return }
            guard !placement.resting[partition], limit > 1 || !placement.isChanged(partition),
                placement.moves(of: partition) < limit
            else { continue }
            for slot in slotsByExcess(partition) {
                guard placement.excess(of: Int(placement.slots[slot])) > 0 else { break }
                guard let target = placement.target(for: slot, .lacking) else { continue }
                placement.assign(slot, UInt32(target))
                break
            }
        }
    }

    /// The slots of a partition, those on the fullest devices first.
    private func slotsByExcess(_ partition: Int) -> [Int] {
        var slots = placement.range(of: partition).filter { placement.slots[$0] != Placement.none }
        // Insertion sort: there are a handful.
        for index in slots.indices.dropFirst() {
            var place = index
            while place > 0, excess(slots[place]) > excess(slots[place - 1]) {
                slots.swapAt(place, place - 1)
                place -= 1
            }
        }
        return slots
    }

    private func excess(_ slot: Int) -> Int {
        placement.excess(of: Int(placement.slots[slot]))
    }

    /// All partitions, from a random one on.
    private mutating func partitionsFromAnywhere() -> [Int] {
        let start = random.next(below: placement.partitions)
        return Array(start..<placement.partitions) + Array(0..<start)
    }
}
