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
        let columns = max(shape.columns, table?.columns ?? 0)
        let placement = Placement(
            tree: tree, plan: plan, partitions: partitionCount, replicas: shape.columns,
            lastReplicaCount: shape.lastColumnCount, columns: columns, slots: denseSlots(tree, columns: columns),
            resting: resting(now: now))
        let random = RandomSource(seed: seed ^ UInt64(truncatingIfNeeded: version))
        if table == nil {
            var initial = InitialPlacement(placement, random: random)
            initial.run()
        } else {
            var rebalancing = Rebalancing(placement, random: random)
            rebalancing.run()
        }
        let moved = store(placement, shape, now: now)
        let removed = removedDevices.count
        for id in removedDevices { devices[id] = nil }
        removedDevices = []
        if moved > 0 || hasChanges { version += 1 }
        hasChanges = false
        return RebalanceResult(
            movedParts: moved, balance: balance, dispersion: dispersion(tree, plan), removedDevices: removed)
    }

    /// For each partition whether it moved too lately to move again.
    func resting(now: Int) -> [Bool] {
        guard !lastMoved.isEmpty else { return [Bool](repeating: false, count: partitionCount) }
        let latest = now - minPartHours * 3600
        return lastMoved.map { Int($0) > latest }
    }

    /// The table with dense device numbers, widened to `columns`.
    private func denseSlots(_ tree: TierTree, columns: Int) -> [UInt32] {
        var slots = [UInt32](repeating: Placement.none, count: partitionCount * columns)
        guard let table else { return slots }
        var dense = [UInt32](repeating: Placement.gone, count: devices.count)
        for (number, id) in tree.ids.enumerated() { dense[id] = UInt32(number) }
        for column in 0..<table.columns {
            for partition in 0..<table.count(ofColumn: column) {
                let id = table[partition, column]
                guard id != AssignmentTable.unassigned else { continue }
                slots[partition * columns + column] = dense[Int(id)]
            }
        }
        return slots
    }

    /// Takes over what a rebalance decided; the result is the number of replicas on devices that are new to their partition.
    private mutating func store(
        _ placement: Placement, _ shape: (columns: Int, lastColumnCount: Int), now: Int
    ) -> Int {
        var result = AssignmentTable(
            partitionCount: partitionCount, columns: shape.columns, lastColumnCount: shape.lastColumnCount,
            largestID: devices.count - 1)
        let moment = UInt32(clamping: now)
        if lastMoved.isEmpty { lastMoved = [UInt32](repeating: 0, count: partitionCount) }
        var moved = 0
        for partition in 0..<partitionCount {
            let first = partition * placement.columns
            for column in 0..<placement.replicas(of: partition) {
                let device = placement.slots[first + column]
                guard device != Placement.none else { continue }
                result[partition, column] = UInt32(placement.tree.ids[Int(device)])
                guard device != placement.before[first + column],
                    !placement.isOriginal(Int(device), of: partition)
                else { continue }
                moved += 1
                lastMoved[partition] = moment
            }
        }
        table = result
        return moved
    }
}
