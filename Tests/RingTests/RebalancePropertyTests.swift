import Ring
import Testing

/// What every rebalance of every cluster has to keep, checked on random ones. The expectations are computed here from devices and
/// weights alone, not with the builder's plan.
@Suite struct RebalancePropertyTests {
    private static let hour = 3600
    /// Shares that are not whole partitions cost a few moves, whatever the number of partitions.
    private static let roundingMoves = 8.0

    @Test(arguments: 1...24) func firstPlacementFollowsWeights(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 6)
        try builder.setOverload(0)
        try builder.rebalance(now: 1_000_000)
        try builder.validate()
        expectShares(builder, "seed \(seed)")
    }

    @Test(arguments: 1...20) func replicasShareNoTierThatCanBeAvoided(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 5)
        try builder.setOverload(1000)
        #expect(try builder.rebalance(now: 1_000_000).dispersion == 0, "seed \(seed)")
        expectSpread(builder, "seed \(seed)")
        for change in 0..<3 {
            try Self.change(&builder, &random)
            settle(&builder)
            expectSpread(builder, "seed \(seed), change \(change)")
        }
    }

    /// Every kind of change, on regular clusters and on such as fit nothing, against the fewest moves there can be.
    @Test func changesMoveLittle() throws {
        var moves = 0
        var bounds = 0
        for (number, change) in [Change.allCases, Change.allCases, Change.allCases].joined().enumerated() {
            for isRegular in [true, false] {
                var random = SeededGenerator(seed: UInt64(number))
                var builder =
                    try isRegular
                    ? Clusters.regular(&random, partPower: 6) : Clusters.random(&random, partPower: 6)
                try builder.setOverload(0)
                try builder.rebalance(now: 1_000_000)
                let before = builder.assignments
                guard try Self.apply(change, to: &builder, &random) else { continue }
                let bound = leastMoves(before, builder)
                let moved = settle(&builder)
                let note =
                    "\(change), seed \(number), \(isRegular ? "regular" : "odd"): \(moved) moves, \(bound) needed"
                #expect(moved >= bound, "\(note)")
                #expect(Double(moved) <= 1.05 * Double(bound) + Self.roundingMoves, "\(note)")
                expectShares(builder, note)
                moves += moved
                bounds += bound
            }
        }
        #expect(Double(moves) <= 1.05 * Double(bounds), "\(moves) moves, \(bounds) are needed")
    }

    @Test(arguments: 1...24) func partitionsRestAndMoveOneReplicaAtATime(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 5)
        try builder.setMinPartHours(3)
        var now = 1_000_000
        var lastMove = [Int](repeating: 0, count: builder.partitionCount)
        try builder.rebalance(now: now)
        lastMove = lastMove.map { _ in now }
        for _ in 0..<12 {
            now += Int.random(in: 0...2 * Self.hour, using: &random)
            let before = builder.assignments
            let doomed = try Bool.random(using: &random) ? Self.change(&builder, &random) : nil
            try builder.rebalance(now: now)
            for (partition, (old, new)) in zip(before, builder.assignments).enumerated() where old != new {
                let forced = old.count { $0 == doomed }
                let moves = zip(old, new).count { $0 != $1 }
                #expect(moves <= max(1, forced), "seed \(seed), partition \(partition)")
                #expect(
                    forced > 0 || now - lastMove[partition] >= 3 * Self.hour, "seed \(seed), partition \(partition)")
                lastMove[partition] = now
            }
        }
    }

    @Test func sameSeedSameRing() throws {
        func ring(_ seed: UInt64) throws -> [[Int]] {
            var builder = try Clusters.builder(partPower: 8, zones: 4, disks: 3)
            try builder.rebalance(now: 1_000_000, seed: seed)
            return builder.assignments
        }
        #expect(try ring(1) == ring(1))
        #expect(try ring(1) != ring(2))
    }

    private enum Change: CaseIterable {
        case removal, draining, weight, device, node, zone, moreReplicas, fewerReplicas
    }

    /// One change of a random kind; the result is the device that was removed, if one was.
    @discardableResult
    private static func change(_ builder: inout RingBuilder, _ random: inout SeededGenerator) throws -> Int? {
        let kinds: [Change] = [.removal, .draining, .weight, .device, .node, .zone]
        try apply(kinds.randomElement(using: &random)!, to: &builder, &random)
        return builder.removedDevices.first
    }

    /// Makes a change, unless the cluster is too small for it.
    @discardableResult
    private static func apply(
        _ change: Change, to builder: inout RingBuilder, _ random: inout SeededGenerator
    ) throws -> Bool {
        let usable = builder.devices.compactMap { $0 }.filter { $0.weight > 0 }
        let device = usable.randomElement(using: &random)!
        let spare = Double(usable.count) - builder.replicas
        let step = [0.5, 1].randomElement(using: &random)!
        let disk = 100 + builder.version
        switch change {
        case .removal where spare >= 1: try builder.remove(device.id)
        case .draining where spare >= 1: try builder.setWeight(0, of: device.id)
        case .weight:
            try builder.setWeight(device.weight * [0.5, 1.5, 2].randomElement(using: &random)!, of: device.id)
        case .device:
            var twin = device
            twin.device = "sd\(disk)"
            try builder.add(twin)
        case .node, .zone:
            let zone = change == .zone ? 9 : device.zone
            for disk in disk...disk + 2 {
                try builder.add(Clusters.device(region: device.region, zone: zone, node: 9, disk: disk))
            }
        case .moreReplicas where spare >= step: try builder.setReplicas(builder.replicas + step)
        case .fewerReplicas where builder.replicas - step >= 1: try builder.setReplicas(builder.replicas - step)
        case .removal, .draining, .moreReplicas, .fewerReplicas: return false
        }
        return true
    }

    /// Rebalances, with all the time in the world in between, until nothing moves any more.
    @discardableResult
    private func settle(_ builder: inout RingBuilder) -> Int {
        var moved = 0
        for round in 1...20 {
            builder.pretendMinPartHoursPassed()
            guard let result = try? builder.rebalance(now: 1_000_000 + round), result.movedParts > 0 else { break }
            moved += result.movedParts
        }
        return moved
    }

    /// What each device should hold by its weight, when none can hold more than one replica of each partition.
    private func shares(_ builder: RingBuilder) -> [Double] {
        var shares = [Double](repeating: 0, count: builder.devices.count)
        var open = builder.devices.compactMap { $0 }.filter { $0.weight > 0 }
        var left = (builder.replicas * Double(builder.partitionCount)).rounded(.down)
        while true {
            let weight = open.reduce(0) { $0 + $1.weight }
            let full = open.filter { left * $0.weight / weight >= Double(builder.partitionCount) }
            if full.isEmpty {
                for device in open { shares[device.id] = left * device.weight / weight }
                return shares
            }
            for device in full { shares[device.id] = Double(builder.partitionCount) }
            left -= Double(full.count * builder.partitionCount)
            open.removeAll { device in full.contains { $0.id == device.id } }
            if open.isEmpty { return shares }
        }
    }

    private func expectShares(_ builder: RingBuilder, _ note: String) {
        for (id, share) in shares(builder).enumerated() {
            let parts = Double(builder.partsByDevice[id])
            #expect(abs(parts - share) <= 1.001, "\(note): device \(id) holds \(parts), its share is \(share)")
        }
    }

    /// The fewest moves after which all shares and the spread of every partition are right, however many of one partition: the cost of a flow
    /// from the partitions through their tiers to the devices, where only devices that are new to a partition cost something.
    private func leastMoves(_ before: [[Int]], _ builder: RingBuilder) -> Int {
        let shares = shares(builder)
        var tiers: [[String]: (number: Int, share: Double)] = [[]: (0, 0)]
        for device in builder.devices.compactMap({ $0 }) where shares[device.id] > 0 {
            for depth in 0...4 {
                let tier = Array(path(device)[..<depth])
                tiers[tier] = (tiers[tier]?.number ?? tiers.count, (tiers[tier]?.share ?? 0) + shares[device.id])
            }
        }
        let partitions = builder.partitionCount
        let firstDevice = partitions * tiers.count
        let source = firstDevice + builder.devices.count
        let sink = source + 1
        var flow = MinimumCostFlow(nodes: sink + 1)
        // What has to flow along an edge at least is made attractive.
        let bonus = 1_000_000
        var bonuses = 0
        func connect(_ from: Int, _ to: Int, _ amount: Double) {
            let least = Int((amount + 1e-6).rounded(.down))
            flow.connect(from, to, capacity: least, cost: -bonus)
            flow.connect(from, to, capacity: Int((amount - 1e-6).rounded(.up)) - least)
            bonuses += least
        }
        for (id, share) in shares.enumerated() { connect(firstDevice + id, sink, share) }
        let total = Int((builder.replicas * Double(partitions)).rounded(.down))
        for partition in 0..<partitions {
            let start = partition * tiers.count
            flow.connect(source, start, capacity: (total - partition + partitions - 1) / partitions)
            for (tier, (number, share)) in tiers where !tier.isEmpty {
                connect(start + tiers[Array(tier.dropLast())]!.number, start + number, share / Double(partitions))
                guard tier.count == 4, let id = Int(tier[3]) else { continue }
                flow.connect(
                    start + number, firstDevice + id, capacity: 1, cost: before[partition].contains(id) ? 0 : 1)
            }
        }
        let (amount, cost) = flow.run(from: source, to: sink)
        #expect(amount == total)
        return cost + bonuses * bonus
    }

    private func path(_ device: RingDevice) -> [String] {
        ["\(device.region)", "\(device.zone)", device.ip, "\(device.id)"]
    }

    /// Checks tier by tier that the replicas a partition has in a tier are spread over its children as evenly as their devices allow.
    private func expectSpread(_ builder: RingBuilder, _ note: String) {
        var capacity = [[String]: Int]()
        var children = [[String]: Set<[String]>]()
        for device in builder.devices.compactMap({ $0 }) where device.weight > 0 {
            for depth in 0...4 {
                capacity[Array(path(device)[..<depth]), default: 0] += 1
                if depth > 0 {
                    children[Array(path(device)[..<(depth - 1)]), default: []].insert(Array(path(device)[..<depth]))
                }
            }
        }
        for (partition, ids) in builder.assignments.enumerated() {
            var counts = [[String]: Int]()
            for id in ids {
                for depth in 0...4 { counts[Array(path(builder.devices[id]!)[..<depth]), default: 0] += 1 }
            }
            for (tier, count) in counts {
                guard let below = children[tier] else { continue }
                var ceiling = 1
                while below.reduce(0, { $0 + min(ceiling, capacity[$1] ?? 0) }) < count { ceiling += 1 }
                let worst = below.map { counts[$0] ?? 0 }.max() ?? 0
                #expect(worst <= ceiling, "\(note): partition \(partition) has \(worst) replicas in a part of \(tier)")
            }
        }
    }
}
