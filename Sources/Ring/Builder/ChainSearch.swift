/// Balances what direct moves cannot: a device with too much gives a replica to one that gives another one on, until it ends at a
/// device with too little.
///
/// This is a search for augmenting paths. A partition untouched so far can move one replica. One that this rebalance has changed
/// already can change its mind for free: send its replica elsewhere, or take it back and move another one in its place.
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

    mutating func run() {
        guard placement.surplus > 0, placement.need[0] > 0 else { return }
        slotsOfDevice = Array(repeating: [], count: placement.tree.deviceCount)
        for (slot, device) in placement.slots.enumerated() where device != Placement.none {
            slotsOfDevice[Int(device)].append(slot)
        }
        while placement.surplus > 0, placement.need[0] > 0, budget > 0, let path = findPath() {
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

    /// A shortest path from a device with too much to one with too little, breadth first.
    private mutating func findPath() -> [Step]? {
        let devices = placement.tree.deviceCount
        var reachedBy = [Step?](repeating: nil, count: devices)
        var queue = (0..<devices).filter { placement.excess(of: $0) > 0 }
        var unvisited = (0..<devices).filter {
            placement.excess(of: $0) <= 0 && placement.plan.most[placement.tree.node(of: $0, at: TierTree.deviceLevel)] > 0
        }
        var next = 0
        while next < queue.count, budget > 0 {
            let device = queue[next]
            next += 1
            let onPath = Set(path(to: device, reachedBy).map { $0.slot / placement.columns })
            for slot in slotsOfDevice[device] where placement.slots[slot] == UInt32(device) {
                if unvisited.isEmpty || budget <= 0 { break }
                budget -= 1
                guard !onPath.contains(slot / placement.columns) else { continue }
                if let end = expand(slot, from: device, &unvisited, &queue, &reachedBy) {
                    return path(to: end, reachedBy)
                }
            }
        }
        return nil
    }

    /// Marks the devices that giving up one slot can reach; the result is one with too little, if there is one among them.
    private mutating func expand(
        _ slot: Int, from device: Int, _ unvisited: inout [Int], _ queue: inout [Int], _ reachedBy: inout [Step?]
    ) -> Int? {
        switch freedom(of: slot) {
        case .none: return nil
        case .swap(let returning):
            let target = Int(placement.before[returning])
            guard let index = unvisited.firstIndex(of: target), placement.allows(slot, to: target) else { return nil }
            reachedBy[target] = Step(from: device, to: target, slot: slot, returning: returning)
            unvisited.remove(at: index)
            queue.append(target)
            return placement.excess(of: target) < 0 ? target : nil
        case .anywhere:
            var index = 0
            while index < unvisited.count {
                let target = unvisited[index]
                budget -= 1
                guard placement.allows(slot, to: target) else {
                    index += 1
                    continue
                }
                reachedBy[target] = Step(from: device, to: target, slot: slot)
                if placement.excess(of: target) < 0 { return target }
                queue.append(target)
                unvisited.swapAt(index, unvisited.count - 1)
                unvisited.removeLast()
            }
            return nil
        }
    }

    private enum Freedom {
        case none
        case anywhere
        case swap(returning: Int)
    }

    private func freedom(of slot: Int) -> Freedom {
        let partition = slot / placement.columns
        let start = partition * placement.columns
        var changed = -1
        var changes = 0
        for other in start..<start + placement.replicas(of: partition)
        where placement.slots[other] != placement.before[other] {
            if other == slot { return .anywhere }
            changed = other
            changes += 1
        }
        if changes == 0 { return placement.resting[partition] ? .none : .anywhere }
        // A replica that had no device, or whose device is gone, has nowhere to return to.
        guard changes == 1, placement.before[changed] < Placement.gone else { return .none }
        return .swap(returning: changed)
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
