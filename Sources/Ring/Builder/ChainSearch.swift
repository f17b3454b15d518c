/// Balances what direct moves cannot: a device with too much gives a replica to one that gives another one on, until it ends at a
/// device with too little.
///
/// This is a search for augmenting paths. A partition untouched so far can move one replica. One that this rebalance has changed
/// already can change its mind for free: send its replica elsewhere, or take it back and move another one in its place. The path found
/// is one with the fewest moves that are not free.
struct ChainSearch {
    private let placement: Placement
    /// The slots of each device, as of the start and with what arrived since; entries that left are skipped.
    private var slotsOfDevice: [[Int]] = []
    /// Tests of a move that are left: a bound on the time spent on rings that cannot be balanced.
    private var budget = 40_000_000

    private struct Step {
        var from: Int
        var to: Int
        var slot: Int
        /// The slot that goes back to where it was while `slot` takes its place; -1 for a plain move.
        var returning = -1
    }

    init(_ placement: Placement) {
        self.placement = placement
    }

    /// Balances as far as possible, with what is free only if asked to.
    mutating func run(freeOnly: Bool) {
        guard placement.surplus > 0, placement.need[0] > 0 else { return }
        slotsOfDevice = Array(repeating: [], count: placement.tree.deviceCount)
        for (slot, device) in placement.slots.enumerated() where device != Placement.none {
            slotsOfDevice[Int(device)].append(slot)
        }
        while placement.surplus > 0, placement.need[0] > 0, budget > 0, let path = findPath(freeOnly) {
            for step in path { apply(step) }
        }
    }

    private mutating func apply(_ step: Step) {
        if step.returning >= 0 {
            let place = placement.slots[step.returning]
            placement.assign(step.returning, UInt32(step.to))
            placement.assign(step.slot, place)
            slotsOfDevice[step.to].append(step.returning)
            slotsOfDevice[Int(place)].append(step.slot)
        } else {
            placement.assign(step.slot, UInt32(step.to))
            slotsOfDevice[step.to].append(step.slot)
        }
    }

    /// A cheapest path from a device with too much to one with too little: breadth first, layer by layer of cost, each layer first
    /// widened by everything free.
    private mutating func findPath(_ freeOnly: Bool) -> [Step]? {
        let devices = placement.tree.deviceCount
        var reachedBy = [Step?](repeating: nil, count: devices)
        var layer = (0..<devices).filter { placement.excess(of: $0) > 0 }
        var unvisited = (0..<devices).filter {
            placement.excess(of: $0) <= 0 && placement.plan.most[placement.tree.node(of: $0, at: TierTree.deviceLevel)] > 0
        }
        while !layer.isEmpty {
            var next = 0
            while next < layer.count {
                if let end = expand(layer[next], free: true, &unvisited, &layer, &reachedBy) {
                    return path(to: end, reachedBy)
                }
                next += 1
            }
            if freeOnly { return nil }
            var nextLayer = [Int]()
            for device in layer {
                if let end = expand(device, free: false, &unvisited, &nextLayer, &reachedBy) {
                    return path(to: end, reachedBy)
                }
            }
            layer = nextLayer
        }
        return nil
    }

    /// Marks the devices that giving up a slot of `device` can reach; the result is one with too little, if there is one among them.
    private mutating func expand(
        _ device: Int, free: Bool, _ unvisited: inout [Int], _ reached: inout [Int], _ reachedBy: inout [Step?]
    ) -> Int? {
        let onPath = path(to: device, reachedBy).map { $0.slot / placement.columns }
        for slot in slotsOfDevice[device] where placement.slots[slot] == UInt32(device) {
            if unvisited.isEmpty || budget <= 0 { return nil }
            budget -= 1
            guard !onPath.contains(slot / placement.columns) else { continue }
            let targets: Range<Int>
            let freedom = freedom(of: slot)
            switch freedom {
            case .none: continue
            case .moves(let isFree):
                guard isFree == free else { continue }
                targets = unvisited.indices
            case .swaps(let returning):
                let home = Int(placement.before[returning])
                guard free, let index = unvisited.firstIndex(of: home) else { continue }
                targets = index..<index + 1
            }
            for index in targets.reversed() {
                let target = unvisited[index]
                budget -= 1
                guard placement.allows(slot, to: target) else { continue }
                reachedBy[target] = Step(from: device, to: target, slot: slot, returning: freedom.returning)
                if placement.excess(of: target) < 0 { return target }
                reached.append(target)
                unvisited.swapAt(index, unvisited.count - 1)
                unvisited.removeLast()
            }
        }
        return nil
    }

    /// What a slot may do in this rebalance.
    private enum Freedom {
        case none
        case moves(free: Bool)
        /// Take the place of another slot of its partition, which returns to where it was before.
        case swaps(returning: Int)

        var returning: Int {
            if case .swaps(let slot) = self { slot } else { -1 }
        }
    }

    private func freedom(of slot: Int) -> Freedom {
        let partition = slot / placement.columns
        let start = partition * placement.columns
        var changed = -1
        var changes = 0
        for other in start..<start + placement.replicas(of: partition)
        where placement.slots[other] != placement.before[other] {
            if other == slot { return .moves(free: true) }
            changed = other
            changes += 1
        }
        if changes == 0 { return placement.resting[partition] ? .none : .moves(free: false) }
        // A replica that had no device, or whose device is gone, has nowhere to return to.
        guard changes == 1, placement.before[changed] < Placement.gone else { return .none }
        return .swaps(returning: changed)
    }

    private func path(to end: Int, _ reachedBy: [Step?]) -> [Step] {
        var path = [Step]()
        var device = end
        while let step = reachedBy[device] {
            path.append(step)
            device = step.from
        }
        return path.reversed()
    }
}
