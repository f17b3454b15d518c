/// How the replicas of partitions are spread over one tier.
package struct TierDispersion: Hashable, Sendable {
    /// The devices of the tier, by id: one for a device, more for nodes, zones and regions.
    package let devices: [Int]
    /// 0 for a region, 1 for a zone, 2 for a node, 3 for a device.
    package let level: Int
    /// Partitions with 0, 1, 2 and so on replicas in the tier.
    package let partitions: [Int]
    /// The most replicas of one partition the tier should hold, given the devices there are.
    package let mostReplicas: Int
    /// Replicas of partitions above that.
    package let atRisk: Int
}

extension RingBuilder {
    /// What `balance` and `TierDispersion` use for a device without weight that still holds something.
    package static let worstBalance = 999.99

    /// How many replicas each device holds, by id.
    package var partsByDevice: [Int] {
        var parts = [Int](repeating: 0, count: devices.count)
        guard let table else { return parts }
        for slot in 0..<table.partitionCount * table.columns {
            let id = table[slot: slot]
            if id != AssignmentTable.unassigned { parts[Int(id)] += 1 }
        }
        return parts
    }

    /// How many replicas a device would hold if only weights counted.
    package func wantedParts(of device: RingDevice) -> Double {
        let weight = devices.reduce(0) { $0 + ($1?.weight ?? 0) }
        return weight > 0 ? device.weight / weight * replicas * Double(partitionCount) : 0
    }

    /// Per cent by which each device holds more (or less) than its weight says, by id; 0 where there is no device.
    package var balanceByDevice: [Double] {
        let parts = partsByDevice
        let weight = devices.reduce(0) { $0 + ($1?.weight ?? 0) }
        let slots = replicas * Double(partitionCount)
        return devices.enumerated().map { id, device in
            guard let device else { return 0 }
            guard device.weight > 0 else { return parts[id] > 0 ? Self.worstBalance : 0 }
            return 100 * Double(parts[id]) / (device.weight / weight * slots) - 100
        }
    }

    /// The worst of `balanceByDevice`, without its sign.
    package var balance: Double {
        balanceByDevice.reduce(0) { max($0, abs($1)) }
    }

    /// Per cent of all replicas that share a tier which the devices there are would let them avoid.
    ///
    /// - Throws: `tooFewDevices` when there is no plan to compare with.
    package func dispersion() throws(RingBuilderError) -> Double {
        let tree = TierTree(devices: devices, without: removedDevices)
        return dispersion(tree, try ReplicaPlan(tree: tree, replicas: replicas, overload: overload))
    }

    /// The overload that would let replicas be kept apart as well as the devices there are allow.
    package func requiredOverload() throws(RingBuilderError) -> Double {
        let tree = TierTree(devices: devices, without: removedDevices)
        return try ReplicaPlan(tree: tree, replicas: replicas, overload: overload).requiredOverload
    }

    /// The spread of the replicas over every tier, outermost first.
    package func dispersionByTier() throws(RingBuilderError) -> [TierDispersion] {
        let tree = TierTree(devices: devices, without: removedDevices)
        let plan = try ReplicaPlan(tree: tree, replicas: replicas, overload: overload)
        let columns = table?.columns ?? 0
        var counts = [[Int]](repeating: [Int](repeating: 0, count: columns + 1), count: tree.nodeCount)
        forEachPartition(tree) { nodes in
            for (node, count) in nodes { counts[node][count] += 1 }
        }
        var members = [[Int]](repeating: [], count: tree.nodeCount)
        for device in 0..<tree.deviceCount {
            for level in 0..<TierTree.depth { members[tree.node(of: device, at: level)].append(tree.ids[device]) }
        }
        return (1..<tree.nodeCount).sorted { tree.levels[$0] < tree.levels[$1] }.map { node in
            var partitions = counts[node]
            partitions[0] = partitionCount - partitions.dropFirst().reduce(0, +)
            let most = plan.dispersed[node]
            let atRisk = partitions.enumerated().reduce(0) { $0 + max(0, $1.offset - most) * $1.element }
            return TierDispersion(
                devices: members[node], level: tree.levels[node], partitions: partitions, mostReplicas: most,
                atRisk: atRisk)
        }
    }

    func dispersion(_ tree: TierTree, _ plan: ReplicaPlan) -> Double {
        var atRisk = 0
        forEachPartition(tree) { nodes in
            var byLevel = [0, 0, 0, 0]
            for (node, count) in nodes where plan.dispersed[node] > 0 {
                byLevel[tree.levels[node]] += max(0, count - plan.dispersed[node])
            }
            // Each replica once, at the level where it is worst.
            atRisk += byLevel.max() ?? 0
        }
        return 100 * Double(atRisk) / (replicas * Double(partitionCount))
    }

    /// Gives the tiers each partition has replicas in, with their numbers.
    private func forEachPartition(_ tree: TierTree, _ body: ([(node: Int, count: Int)]) -> Void) {
        guard let table else { return }
        var dense = [Int](repeating: -1, count: devices.count)
        for (number, id) in tree.ids.enumerated() { dense[id] = number }
        var nodes = [(node: Int, count: Int)]()
        nodes.reserveCapacity(table.columns * TierTree.depth)
        for partition in 0..<partitionCount {
            nodes.removeAll(keepingCapacity: true)
            for column in 0..<table.columns {
                let id = table[partition, column]
                guard id != AssignmentTable.unassigned, dense[Int(id)] >= 0 else { continue }
                for level in 0..<TierTree.depth {
                    let node = tree.node(of: dense[Int(id)], at: level)
                    if let index = nodes.firstIndex(where: { $0.node == node }) {
                        nodes[index].count += 1
                    } else {
                        nodes.append((node, 1))
                    }
                }
            }
            body(nodes)
        }
    }

    /// Checks that every replica has a device that exists and that no device holds a partition twice.
    package func validate() throws(RingBuilderError) {
        guard let table else { throw .neverRebalanced }
        for partition in 0..<partitionCount {
            var seen = [UInt32]()
            for column in 0..<table.columns where partition < table.count(ofColumn: column) {
                let id = table[partition, column]
                guard id != AssignmentTable.unassigned else {
                    throw .unassigned(partition: partition, replica: column)
                }
                guard Int(id) < devices.count, devices[Int(id)] != nil else {
                    throw .unknownDevice(partition: partition, device: Int(id))
                }
                guard !seen.contains(id) else { throw .sharedDevice(partition: partition, device: Int(id)) }
                seen.append(id)
            }
        }
    }
}
