import Ring
import Testing

@Suite struct BuilderFileTests {
    @Test func everythingComesBack() throws {
        var builder = try Clusters.builder(partPower: 6, replicas: 2.5, minPartHours: 7, zones: 4, disks: 2)
        try builder.setOverload(0.25)
        let fresh = try BuilderFile.decode(BuilderFile.encode(builder))
        #expect(fresh.devices == builder.devices)
        #expect(fresh.hasChanges)
        #expect(throws: RingBuilderError.neverRebalanced) { try fresh.validate() }

        try builder.rebalance(now: 1_000_000)
        try builder.remove(3)
        var copy = try BuilderFile.decode(BuilderFile.encode(builder))
        #expect(copy.partPower == 6)
        #expect(copy.replicas == 2.5)
        #expect(copy.minPartHours == 7)
        #expect(copy.overload == 0.25)
        #expect(copy.version == builder.version)
        #expect(copy.devices == builder.devices)
        #expect(copy.removedDevices == [3])
        #expect(copy.hasChanges)
        #expect(copy.assignments == builder.assignments)
        #expect(copy.secondsUntilMovable(now: 1_000_000) == 7 * 3600)
        #expect(BuilderFile.encode(copy) == BuilderFile.encode(builder))
        #expect(try copy.rebalance(now: 1_000_001) == builder.rebalance(now: 1_000_001))
        #expect(copy.assignments == builder.assignments)
    }

    /// The first version as it was first written: newer releases have to go on reading it.
    @Test func goldenFile() throws {
        var builder = try RingBuilder(partPower: 1, replicas: 1, minPartHours: 2)
        try builder.add(RingDevice(zone: 1, ip: "10.0.0.1", port: 6200, device: "sda", weight: 100))
        try builder.rebalance(now: 1_000_000)
        let golden = try BuilderFile.decode(Self.golden)
        #expect(golden.devices == builder.devices)
        #expect(golden.version == builder.version)
        #expect(golden.assignments == builder.assignments)
        #expect(golden.secondsUntilMovable(now: 1_000_000) == 7200)
    }

    private static let golden: [UInt8] = []
}
