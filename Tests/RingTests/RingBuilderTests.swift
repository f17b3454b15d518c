import Ring
import Testing

@Suite struct RingBuilderTests {
    @Test func firstRebalanceGivesEveryDeviceItsShare() throws {
        var builder = try Clusters.builder(partPower: 10, zones: 4, disks: 2)
        let result = try builder.rebalance(now: 1_000_000)
        #expect(result.movedParts == 3 * 1024)
        #expect(result.balance == 0)
        #expect(result.dispersion == 0)
        #expect(Set(builder.partsByDevice) == [384])
        try builder.validate()
        for partition in builder.assignments {
            #expect(Set(partition.map { builder.devices[$0]!.zone }).count == 3)
        }
    }

    @Test func weightsDecide() throws {
        var builder = try Clusters.builder(partPower: 10, zones: 8, disks: 1) { $0 < 4 ? 100 : 300 }
        try builder.rebalance(now: 1_000_000)
        #expect(builder.partsByDevice == [192, 192, 192, 192, 576, 576, 576, 576])
    }

    @Test func everyPairOfDevicesSharesPartitions() throws {
        var builder = try Clusters.builder(partPower: 10, zones: 12, disks: 1)
        try builder.rebalance(now: 1_000_000)
        var shared = Set<[Int]>()
        for partition in builder.assignments {
            for a in partition { for b in partition where a < b { shared.insert([a, b]) } }
        }
        #expect(shared.count == 66, "a failed device should be rebuilt from all others")
    }

    @Test func fractionalReplicas() throws {
        var builder = try Clusters.builder(partPower: 8, replicas: 2.5, zones: 4, disks: 1)
        try builder.rebalance(now: 1_000_000)
        #expect(builder.ring().replicaCount == 2.5)
        #expect(builder.assignments.map(\.count) == Array(repeating: 3, count: 128) + Array(repeating: 2, count: 128))
        #expect(Set(builder.partsByDevice) == [160])
        try builder.setReplicas(3)
        builder.pretendMinPartHoursPassed()
        let result = try builder.rebalance(now: 2_000_000)
        #expect(128...130 ~= result.movedParts)
        #expect(Set(builder.partsByDevice) == [192])
        try builder.setReplicas(2)
        let fewer = try builder.rebalance(now: 3_000_000)
        #expect(fewer.dispersion == 0)
        try builder.validate()
        #expect(builder.assignments.allSatisfy { $0.count == 2 })
    }

    @Test func overloadTradesBalanceForDispersion() throws {
        // The third zone is small: by weight it cannot hold a replica of everything.
        func dispersed(_ overload: Double) throws -> (share: Double, atRisk: Double) {
            var builder = try Clusters.builder(partPower: 10, zones: 3, disks: 1) { $0 == 2 ? 80 : 100 }
            try builder.setOverload(overload)
            let result = try builder.rebalance(now: 1_000_000)
            return (Double(builder.partsByDevice[2]) / 1024, result.dispersion)
        }
        // With one device per zone nothing can be on a zone twice, so that every device has everything.
        #expect(try dispersed(0).share == 1)

        var builder = try Clusters.builder(partPower: 10, zones: 3, disks: 2) { $0 >= 4 ? 40 : 50 }
        #expect(abs(try builder.requiredOverload() - 1.0 / 6) < 0.001)
        let byWeight = try builder.rebalance(now: 1_000_000)
        #expect(byWeight.balance < 1)
        #expect(byWeight.dispersion > 1)
        try builder.setOverload(0.2)
        builder.pretendMinPartHoursPassed()
        let apart = try builder.rebalance(now: 2_000_000)
        #expect(apart.dispersion == 0)
        #expect(abs(apart.balance - 16.7) < 0.5)
    }

    @Test func minPartHoursHoldsPartitionsBack() throws {
        var builder = try Clusters.builder(partPower: 8, zones: 4, disks: 1)
        try builder.rebalance(now: 1_000_000)
        try builder.add(Clusters.device(zone: 5, node: 1, disk: 1))
        #expect(try builder.rebalance(now: 1_003_599).movedParts == 0)
        #expect(builder.secondsUntilMovable(now: 1_003_599) == 1)
        #expect(builder.secondsUntilMovable(now: 1_003_600) == 0)
        #expect(try builder.rebalance(now: 1_003_600).movedParts == 153)
        #expect(Set(builder.partsByDevice).isSubset(of: [153, 154]))
    }

    @Test func removedDevicesAreEmptiedAtOnce() throws {
        var builder = try Clusters.builder(partPower: 8, zones: 5, disks: 1)
        try builder.rebalance(now: 1_000_000)
        let held = builder.partsByDevice[2]
        let before = builder.assignments
        try builder.remove(2)
        #expect(throws: RingBuilderError.removedDevice(2)) { try builder.setWeight(1, of: 2) }
        let result = try builder.rebalance(now: 1_000_001)
        #expect(result.movedParts == held)
        #expect(result.removedDevices == 1)
        #expect(builder.devices[2] == nil)
        for (old, new) in zip(before, builder.assignments) {
            for (from, to) in zip(old, new) where from != 2 { #expect(from == to) }
        }
        #expect(try builder.add(Clusters.device(zone: 6, node: 1, disk: 1)) == 2)
    }

    @Test func drainedDevicesKeepWhatRests() throws {
        var builder = try Clusters.builder(partPower: 8, zones: 5, disks: 1)
        try builder.rebalance(now: 1_000_000)
        try builder.setWeight(0, of: 0)
        #expect(try builder.rebalance(now: 1_000_001).movedParts == 0)
        #expect(builder.balance == RingBuilder.worstBalance)
        try builder.rebalance(now: 1_010_000)
        #expect(builder.partsByDevice[0] == 0)
    }

    @Test func devicesAreFoundElsewhereAfterAMove() throws {
        var builder = try Clusters.builder(partPower: 6, zones: 4, disks: 1)
        try builder.rebalance(now: 1_000_000)
        let (version, before) = (builder.version, builder.assignments)
        try builder.place(2, region: 2, zone: 9, ip: "10.1.1.1", port: 6201)
        #expect(builder.version == version + 1)
        try builder.place(2, region: 2, zone: 9, ip: "10.1.1.1", port: 6201)
        #expect(builder.version == version + 1)
        let device = try #require(builder.devices[2])
        #expect((device.region, device.zone, device.ip, device.port) == (2, 9, "10.1.1.1", 6201))
        #expect((device.replicationIP, device.replicationPort) == ("10.1.1.1", 6201))
        #expect(builder.assignments == before)
        #expect(throws: RingBuilderError.noSuchDevice(9)) {
            try builder.place(9, region: 1, zone: 1, ip: "10.1.1.1", port: 1)
        }
    }

    @Test func partitionsThatMovedRest() throws {
        var builder = try Clusters.builder(partPower: 6, zones: 4, disks: 1)
        #expect(builder.restingPartitions(now: 1_000_000) == 0)
        try builder.rebalance(now: 1_000_000)
        #expect(builder.restingPartitions(now: 1_000_000) == 64)
        #expect(builder.restingPartitions(now: 1_000_000 + builder.minPartHours * 3_600 + 1) == 0)
    }

    @Test func versionGrowsWithEveryChange() throws {
        var builder = try RingBuilder(partPower: 4, replicas: 1, minPartHours: 0)
        #expect(builder.version == 0)
        var last = 0
        func expectGrowth() {
            #expect(builder.version > last)
            last = builder.version
        }
        try builder.add(Clusters.device(zone: 1, node: 1, disk: 1))
        expectGrowth()
        try builder.add(Clusters.device(zone: 1, node: 1, disk: 2))
        expectGrowth()
        try builder.rebalance(now: 1_000_000)
        expectGrowth()
        try builder.setWeight(3, of: 0)
        expectGrowth()
        try builder.rebalance(now: 2_000_000)
        expectGrowth()
        try builder.rebalance(now: 3_000_000)
        #expect(builder.version == last, "nothing changed")
    }

    @Test func nonsenseIsRefused() throws {
        #expect(throws: RingBuilderError.partPower(33)) { try RingBuilder(partPower: 33, replicas: 3, minPartHours: 1) }
        #expect(throws: RingBuilderError.replicas(0.5)) {
            try RingBuilder(partPower: 8, replicas: 0.5, minPartHours: 1)
        }
        #expect(throws: RingBuilderError.minPartHours(-1)) {
            try RingBuilder(partPower: 8, replicas: 3, minPartHours: -1)
        }
        #expect(throws: RingBuilderError.tooManyAssignments) {
            try RingBuilder(partPower: 32, replicas: 3, minPartHours: 1)
        }
        var builder = try Clusters.builder(partPower: 8, zones: 2, disks: 1)
        #expect(throws: RingBuilderError.tooFewDevices(needed: 3, have: 2)) { try builder.rebalance(now: 1) }
        #expect(throws: RingBuilderError.noSuchDevice(7)) { try builder.setWeight(1, of: 7) }
        #expect(throws: RingBuilderError.weight(-1)) { try builder.setWeight(-1, of: 0) }
        #expect(throws: RingBuilderError.overload(-1)) { try builder.setOverload(-1) }
        #expect(throws: RingBuilderError.duplicateDevice(1)) {
            try builder.add(Clusters.device(zone: 1, node: 1, disk: 1), id: 1)
        }
        #expect(throws: RingBuilderError.neverRebalanced) { try builder.validate() }
    }
}
