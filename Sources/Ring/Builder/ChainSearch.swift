/// Balances what direct moves cannot: a device with too much gives a replica to one that gives another one on, until it ends at a
/// device with too little.
///
/// This is a search for augmenting paths, as for a flow of least cost. In a step a partition leaves one device for another. A step costs
/// a move when the partition leaves a device it was on before the rebalance for one that is new to it; a step is free when
/// the partition changes its mind: a new device for another one, or one it was on before for another such one that it had left.
/// The path found is one with the fewest steps that are not free.
struct ChainSearch {
    /// What the steps of a path may do.
    enum Steps: Comparable {
        /// Nothing that costs a move.
        case free
        /// Move a replica of a partition that has not moved yet.
        case firstMoves
        /// Move any replica, though a later rebalance has to carry out the second move of a partition.
        case moves
    }

    private let placement: Placement
    /// The slots of each device, as of the start and with what arrived since; entries that left are skipped.
    private var slotsOfDevice: [[Int]] = []
    /// Tests of a step that are left: a bound on the time spent on rings that cannot be balanced.
    private var budget = 8_000_000

    private struct Step {
        var from: Int
        var to: Int
        var slot: Int
    }

    init(_ placement: Placement) {
        self.placement = placement
        slotsOfDevice = Array(repeating: [], count: placement.tree.deviceCount)
        for device in slotsOfDevice.indices { slotsOfDevice[device].reserveCapacity(placement.held(by: device)) }
        for (slot, device) in placement.slots.enumerated() where device != Placement.none {
            slotsOfDevice[Int(device)].append(slot)
        }
    }

    /// Balances as far as such steps can.
    mutating func run(_ steps: Steps) {
        while placement.surplus > 0, placement.need[0] > 0, budget > 0, let path = findPath(steps) {
            for step in path { assign(step.slot, step.to) }
        }
    }

    /// Takes moves back where free steps alone restore the balance: without such moves a placement has no cheaper one nearby.
    mutating func takeBackMoves() {
        for _ in 0..<Self.takeBackPasses {
            var hopeless = Set<Int>()
            var improved = false
            for partition in 0..<placement.partitions where placement.isChanged(partition) {
                guard budget > 0 else { return }
                improved = takeBackMove(of: partition, &hopeless) || improved
            }
            if !improved { return }
        }
    }

    /// A move taken back can make another one superfluous; more passes than this find next to nothing.
    private static let takeBackPasses = 4

    /// `hopeless` holds pairs of devices between which no free steps were found.
    private mutating func takeBackMove(of partition: Int, _ hopeless: inout Set<Int>) -> Bool {
        let devices = placement.tree.deviceCount
        for slot in placement.range(of: partition) where placement.slots[slot] != Placement.none {
            let device = Int(placement.slots[slot])
            guard !placement.isOriginal(device, of: partition) else { continue }
            for home in placement.leftDevices(of: partition) {
                budget -= 1
                let pair = home * devices + device
                guard placement.allows(slot, to: home), !hopeless.contains(pair) else { continue }
                let surplus = placement.surplus
                assign(slot, home)
                if placement.surplus <= surplus { return true }
                if let path = findPath(.free) {
                    for step in path { assign(step.slot, step.to) }
                    return true
                }
                assign(slot, device)
                hopeless.insert(pair)
            }
        }
        return false
    }

    private mutating func assign(_ slot: Int, _ device: Int) {
        placement.assign(slot, UInt32(device))
        slotsOfDevice[device].append(slot)
    }

    /// A cheapest path from a device with too much to one with too little: breadth first, layer by layer of cost, each layer first
    /// widened by everything free.
    private mutating func findPath(_ steps: Steps) -> [Step]? {
        let devices = placement.tree.deviceCount
        var reachedBy = [Step?](repeating: nil, count: devices)
        var layer = (0..<devices).filter { placement.excess(of: $0) > 0 }
        var unvisited = (0..<devices).filter {
            placement.excess(of: $0) <= 0
                && placement.plan.most[placement.tree.node(of: $0, at: TierTree.deviceLevel)] > 0
        }
        while !layer.isEmpty {
            var next = 0
            while next < layer.count {
                if let end = expand(layer[next], .free, &unvisited, &layer, &reachedBy) {
                    return path(to: end, reachedBy)
                }
                next += 1
            }
            if steps == .free { return nil }
            var nextLayer = [Int]()
            for device in layer {
                if let end = expand(device, steps, &unvisited, &nextLayer, &reachedBy) {
                    return path(to: end, reachedBy)
                }
            }
            layer = nextLayer
        }
        return nil
    }

    /// Marks the devices that giving up a slot of `device` can reach; the result is one with too little, if there is one among them.
    private mutating func expand(
        _ device: Int, _ steps: Steps, _ unvisited: inout [Int], _ reached: inout [Int], _ reachedBy: inout [Step?]
    ) -> Int? {
        let onPath = path(to: device, reachedBy).map { $0.slot / placement.columns }
        for slot in slotsOfDevice[device] where placement.slots[slot] == UInt32(device) {
            if unvisited.isEmpty || budget <= 0 { return nil }
            budget -= 1
            let partition = slot / placement.columns
            guard !onPath.contains(partition) else { continue }
            let returnsOnly: Bool
            if placement.isOriginal(device, of: partition) {
                if placement.resting[partition] { continue }
                let changed = placement.isChanged(partition)
                if steps == .free, !changed { continue }
                if steps == .firstMoves, changed { continue }
                returnsOnly = steps == .free
            } else {
                if steps != .free { continue }
                returnsOnly = false
            }
            for index in unvisited.indices.reversed() {
                let target = unvisited[index]
                if returnsOnly, !placement.isOriginal(target, of: partition) { continue }
                budget -= 1
                guard !placement.holds(partition, target), placement.allows(slot, to: target) else { continue }
                reachedBy[target] = Step(from: device, to: target, slot: slot)
                if placement.excess(of: target) < 0 { return target }
                reached.append(target)
                unvisited.swapAt(index, unvisited.count - 1)
                unvisited.removeLast()
            }
        }
        return nil
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
