import Ring
import Testing

/// What every rebalance of every cluster has to keep, checked on random ones. The expectations are computed here from devices and
/// weights alone, not with the builder's plan.
@Suite struct RebalancePropertyTests {
    private static let hour = 3600
    /// Shares that are not whole partitions cost a few moves, whatever the number of partitions.
    private static let roundingMoves = 8.0

    @Test(arguments: 1...50) func firstPlacementFollowsWeights(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 7)
        try builder.setOverload(0)
        try builder.rebalance(now: 1_000_000)
        try builder.validate()
        expectShares(builder, "seed \(seed)")
    }

    @Test(arguments: 1...50) func replicasShareNoTierThatCanBeAvoided(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 6)
        try builder.setOverload(1000)
        #expect(try builder.rebalance(now: 1_000_000).dispersion == 0, "seed \(seed)")
        expectSpread(builder, "seed \(seed)")
        for change in 0..<3 {
            try Self.change(&builder, &random)
            settle(&builder)
            expectSpread(builder, "seed \(seed), change \(change)")
        }
    }

    @Test(arguments: 1...50) func changesMoveLittle(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.regular(&random, partPower: 10)
        try builder.rebalance(now: 1_000_000)
        let before = builder.assignments
        try Self.change(&builder, &random)
        let bound = leastMoves(before, builder)
        let moved = settle(&builder)
        let note = "seed \(seed): \(moved) moves, at least \(bound) are needed"
        #expect(Double(moved) <= 1.05 * Double(bound) + Self.roundingMoves, "\(note)")
        expectShares(builder, note)
    }

    /// Clusters that fit nothing, changed time and again: a change may have to move replicas apart that sat together rightly before,
    /// which the bound sees in part only.
    @Test func changesOfOddClustersMoveLittleOnTheWhole() throws {
        var moves = 0
        var bounds = 0
        for seed in 1...100 {
            var random = SeededGenerator(seed: UInt64(seed))
            var builder = try Clusters.random(&random, partPower: 8)
            try builder.setOverload(0)
            try builder.rebalance(now: 1_000_000)
            for change in 0..<3 {
                let before = builder.assignments
                try Self.change(&builder, &random)
                bounds += leastMoves(before, builder)
                moves += settle(&builder)
                expectShares(builder, "seed \(seed), change \(change)")
            }
        }
        #expect(Double(moves) <= 1.1 * Double(bounds), "\(moves) moves, at least \(bounds) are needed")
    }

    @Test(arguments: 1...60) func partitionsRestAndMoveOneReplicaAtATime(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var builder = try Clusters.random(&random, partPower: 6)
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

    /// One change of the kind operators make; the result is the device that was removed, if one was.
    @discardableResult
    private static func change(_ builder: inout RingBuilder, _ random: inout SeededGenerator) throws -> Int? {
        let alive = builder.devices.compactMap { $0 }
        let usable = alive.filter { $0.weight > 0 }
        switch Int.random(in: 0..<4, using: &random) {
        case 0 where Double(usable.count - 1) >= builder.replicas:
            let id = usable.randomElement(using: &random)!.id
            try builder.remove(id)
            return id
        case 1 where Double(usable.count - 1) >= builder.replicas:
            try builder.setWeight(0, of: usable.randomElement(using: &random)!.id)
        case 2:
            let device = usable.randomElement(using: &random)!
            try builder.setWeight(device.weight * [0.5, 1.5, 2].randomElement(using: &random)!, of: device.id)
        default:
            let zone = Int.random(in: 1...5, using: &random)
            let node = Int.random(in: 1...3, using: &random)
            for disk in 1...Int.random(in: 1...3, using: &random) {
                try builder.add(Clusters.device(zone: zone, node: node, disk: 10 + disk))
            }
        }
        return nil
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
        var left = (builder.ring().replicaCount * Double(builder.partitionCount)).rounded()
        if left == 0 { left = (builder.replicas * Double(builder.partitionCount)).rounded() }
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

    /// Moves without which shares and spread cannot be reached. A tier has to take in what it lacks to its share; and if partitions
    /// have too many replicas in it, as many more as these must give up. A tier also takes in at least what its children do.
    private func leastMoves(_ before: [[Int]], _ builder: RingBuilder) -> Int {
        let shares = shares(builder)
        var tiers = [[String]: (share: Double, held: Int, perPartition: [Int])]()
        for device in builder.devices.compactMap({ $0 }) {
            for depth in 0...4 {
                let tier = Array(path(device)[..<depth])
                let empty = (0.0, 0, [Int](repeating: 0, count: builder.partitionCount))
                tiers[tier, default: empty].share += shares[device.id]
            }
        }
        for (partition, ids) in before.enumerated() {
            for id in ids where !builder.removedDevices.contains(id) {
                for depth in 0...4 {
                    let tier = Array(path(builder.devices[id]!)[..<depth])
                    tiers[tier]!.held += 1
                    tiers[tier]!.perPartition[partition] += 1
                }
            }
        }
        var bounds = [[String]: Int]()
        for (tier, state) in tiers.sorted(by: { $0.key.count > $1.key.count }) {
            let average = state.share / Double(builder.partitionCount)
            let most = Int((average - 1e-6).rounded(.up))
            let least = Int((average + 1e-6).rounded(.down))
            let lacking = Int((state.share + 1e-6).rounded(.down)) - state.held
            let crowded = state.perPartition.reduce(0) { $0 + max(0, $1 - most) }
            let missing = state.perPartition.reduce(0) { $0 + max(0, least - $1) }
            let own = tier.isEmpty ? 0 : max(0, lacking, missing, crowded + lacking)
            bounds[tier] = max(own, bounds[tier] ?? 0)
            if !tier.isEmpty { bounds[Array(tier.dropLast()), default: 0] += bounds[tier]! }
        }
        return bounds[[]]!
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
                if depth > 0 { children[Array(path(device)[..<(depth - 1)]), default: []].insert(Array(path(device)[..<depth])) }
            }
        }
        for (partition, ids) in builder.assignments.enumerated() {
            var counts = [[String]: Int]()
            for id in ids { for depth in 0...4 { counts[Array(path(builder.devices[id]!)[..<depth]), default: 0] += 1 } }
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
