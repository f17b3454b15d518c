/// Changes a placement until every device holds its quota, moving as little as possible.
///
/// In this order: replicas without a device get one; partitions with replicas too close together move one; devices with too much
/// give to those with too little, directly where a partition allows it, and else by the chains of `ChainSearch`.
struct Rebalancing {
    private let placement: Placement
    private var random: RandomSource

    init(_ placement: Placement, random: RandomSource) {
        self.placement = placement
        self.random = random
    }

    mutating func run() {
        assignMissing()
        spreadApart()
        var search = ChainSearch(placement)
        search.run(freeOnly: true)
        balance()
        search.run(freeOnly: false)
    }

    private mutating func assignMissing() {
        for partition in partitionsFromAnywhere() {
            let start = partition * placement.columns
            for slot in start..<start + placement.replicas(of: partition) where placement.slots[slot] == Placement.none {
                if let target = placement.targetOfMissing(slot) { placement.assign(slot, UInt32(target)) }
            }
        }
    }

    private mutating func spreadApart() {
        for partition in partitionsFromAnywhere() {
            let violations = placement.violations(of: partition)
            guard violations > 0, placement.isMovable(partition) else { continue }
            let slots = slotsByExcess(partition)
            if !slots.contains(where: { improve($0, violations, .lacking) }) {
                _ = slots.contains { improve($0, violations, .any) }
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
        for partition in partitionsFromAnywhere() {
            if placement.surplus == 0 { return }
            guard placement.isMovable(partition) else { continue }
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
        let start = partition * placement.columns
        var slots = Array(start..<start + placement.replicas(of: partition))
        slots.removeAll { placement.slots[$0] == Placement.none }
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
