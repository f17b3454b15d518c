extension Placement {
    /// Leaves of the moves of a partition what one rebalance may do: replicas without a device get one, and if there are none, one
    /// replica moves. What is left is that after which the partition is closest to its plan.
    func keepOneMove(of partition: Int) {
        let range = range(of: partition)
        let left = leftDevices(of: partition).prefix(movesBack(of: partition))
        guard !left.isEmpty else { return }
        var arrived = range.filter { slots[$0] != Self.none && !isOriginal(Int(slots[$0]), of: partition) }
            .map { slots[$0] }
        let missing = arrived.count - left.count
        guard missing > 0 || left.count > 1 else { return }
        // Back to where it was, with the newcomers without a place at first.
        var free = range.filter { slots[$0] != Self.none && !isOriginal(Int(slots[$0]), of: partition) }
        for device in left { assign(free.removeLast(), UInt32(device)) }
        if missing > 0 {
            for slot in free { assign(slot, Self.none) }
            for slot in free {
                let best = closestToPlan(arrived.map { (slot, $0) })
                assign(slot, best.device)
                arrived.removeAll { $0 == best.device }
            }
        } else {
            let leaving = range.filter { left.contains(Int(slots[$0])) }
            let best = closestToPlan(leaving.flatMap { slot in arrived.map { (slot, $0) } })
            assign(best.slot, best.device)
        }
    }

    /// Puts replicas that are still where they were before into the columns they were in.
    func restoreOrder(of partition: Int) {
        let range = range(of: partition)
        let wanted = range.prefix(replicas(of: partition))
        for home in wanted where before[home] < Self.gone && slots[home] != before[home] {
            guard let slot = range.first(where: { slots[$0] == before[home] }) else { continue }
            exchange(slot, with: home)
        }
    }

    /// Moves the replicas of a partition into its first slots.
    func closeGaps(of partition: Int) {
        var next = partition * columns
        for slot in range(of: partition) where slots[slot] != Self.none {
            if slot != next { exchange(slot, with: next) }
            next += 1
        }
    }

    /// How many of the devices a partition has left it has left for others, rather than because it has fewer replicas now.
    private func movesBack(of partition: Int) -> Int {
        let arrived = moves(of: partition)
        let missing = range(of: partition).count { before[$0] >= Self.gone && $0 % columns < replicas(of: partition) }
        return max(0, arrived - missing)
    }

    /// The move after which the partition has the fewest violations.
    private func closestToPlan(_ moves: [(slot: Int, device: UInt32)]) -> (slot: Int, device: UInt32) {
        var best = moves[0]
        var fewest = Int.max
        for move in moves {
            let device = slots[move.slot]
            assign(move.slot, move.device)
            let violations = violations(of: move.slot / columns)
            assign(move.slot, device)
            if violations < fewest {
                best = move
                fewest = violations
            }
        }
        return best
    }
}
