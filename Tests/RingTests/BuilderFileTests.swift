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

    private static let golden: [UInt8] = [
        31, 139, 8, 0, 244, 42, 132, 77, 0, 255, 101, 80, 193, 138, 194, 48, 16, 109, 253, 1, 127, 65, 114,
        22, 105, 122, 240, 176, 39, 17, 17, 22, 246, 36, 236, 73, 164, 204, 166, 99, 19, 72, 147, 146, 164,
        10, 43, 254, 187, 51, 81, 214, 21, 19, 66, 222, 188, 153, 121, 121, 147, 221, 118, 253, 253, 249,
        181, 41, 139, 162, 212, 23, 161, 188, 29, 123, 23, 197, 199, 76, 206, 103, 162, 197, 19, 195, 253,
        133, 145, 81, 72, 88, 196, 22, 4, 165, 76, 75, 65, 197, 96, 96, 86, 86, 11, 222, 146, 83, 61, 38,
        96, 142, 241, 224, 67, 34, 188, 172, 43, 174, 13, 216, 25, 239, 30, 226, 1, 7, 107, 20, 36, 98, 154,
        119, 145, 255, 217, 87, 145, 51, 154, 78, 115, 44, 43, 170, 38, 226, 215, 59, 118, 38, 175, 7, 10,
        52, 196, 70, 105, 112, 29, 178, 243, 35, 216, 136, 196, 90, 136, 169, 185, 207, 70, 215, 232, 184,
        189, 102, 171, 134, 212, 33, 164, 70, 251, 49, 196, 7, 233, 79, 24, 172, 135, 60, 96, 126, 32, 87,
        12, 254, 140, 225, 207, 250, 15, 88, 112, 10, 185, 38, 133, 17, 51, 215, 83, 35, 19, 251, 195, 211,
        127, 254, 201, 44, 66, 162, 241, 62, 124, 125, 45, 158, 107, 82, 76, 215, 43, 62, 55, 159, 234, 231,
        53, 136, 1, 0, 0,
    ]
}
