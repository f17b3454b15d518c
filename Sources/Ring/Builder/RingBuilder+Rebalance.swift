/// What a rebalance did.
package struct RebalanceResult: Hashable, Sendable {
    /// Replicas that have another device than before.
    package let movedParts: Int
    /// See `RingBuilder.balance`.
    package let balance: Double
    /// See `RingBuilder.dispersion`.
    package let dispersion: Double
    package let removedDevices: Int
}

extension RingBuilder {
    /// Assigns what is not assigned, spreads replicas that are too close together and evens out the devices.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970, which `minPartHours` is counted by.
    ///   - seed: the same builder and the same seed give the same ring.
    /// - Throws: `tooFewDevices`; the builder is unchanged then.
    @discardableResult
    package mutating func rebalance(now: Int, seed: UInt64 = 0) throws(RingBuilderError) -> RebalanceResult {
        let tree = TierTree(devices: devices, without: removedDevices)
        let plan = try ReplicaPlan(tree: tree, replicas: replicas, overload: overload)
        let shape = shape
        let placement = Placement(
            tree: tree, plan: plan, partitions: partitionCount, columns: shape.columns,
            lastColumnCount: shape.lastColumnCount, slots: denseSlots(tree, shape), resting: resting(now: now))
        let random = RandomSource(seed: seed ^ UInt64(truncatingIfNeeded: version))
        if table == nil {
            var initial = InitialPlacement(placement, random: random)
            initial.run()
        } else {
            var rebalancing = Rebalancing(placement, random: random)
            rebalancing.run()
        }
        let moved = store(placement, now: now)
        let removed = removedDevices.count
        for id in removedDevices { devices[id] = nil }
        removedDevices = []
        if moved > 0 || hasChanges { version += 1 }
        hasChanges = false
        return RebalanceResult(
            movedParts: moved, balance: balance, dispersion: dispersion(tree, plan), removedDevices: removed)
    }

    private func resting(now: Int) -> [Bool] {
        guard !lastMoved.isEmpty else { return [Bool](repeating: false, count: partitionCount) }
        let latest = now - minPartHours * 3600
        return lastMoved.map { Int($0) > latest }
    }

    /// The table with dense device numbers, in the shape it is going to have.
    private func denseSlots(_ tree: TierTree, _ shape: (columns: Int, lastColumnCount: Int)) -> [UInt32] {
        var slots = [UInt32](repeating: Placement.none, count: partitionCount * shape.columns)
        guard let table else { return slots }
        var dense = [UInt32](repeating: Placement.gone, count: devices.count)
        for (number, id) in tree.ids.enumerated() { dense[id] = UInt32(number) }
        for column in 0..<min(shape.columns, table.columns) {
            let wanted = column == shape.columns - 1 ? shape.lastColumnCount : partitionCount
            for partition in 0..<min(wanted, table.count(ofColumn: column)) {
                let id = table[partition, column]
                guard id != AssignmentTable.unassigned else { continue }
                slots[partition * shape.columns + column] = dense[Int(id)]
            }
        }
        return slots
    }

    /// Takes over what a rebalance decided; the result is the number of replicas with another device than before.
    private mutating func store(_ placement: Placement, now: Int) -> Int {
        var result = AssignmentTable(
            partitionCount: partitionCount, columns: placement.columns, lastColumnCount: placement.lastColumnCount,
            largestID: devices.count - 1)
        let moment = UInt32(clamping: now)
        if lastMoved.isEmpty { lastMoved = [UInt32](repeating: 0, count: partitionCount) }
        var moved = 0
        for slot in placement.slots.indices {
            let device = placement.slots[slot]
            if device != Placement.none { result[slot: slot] = UInt32(placement.tree.ids[Int(device)]) }
            if device != placement.before[slot] {
                moved += 1
                lastMoved[slot / placement.columns] = moment
            }
        }
        table = result
        return moved
    }
}
