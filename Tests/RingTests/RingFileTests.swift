import Ring
import Testing

@Suite struct RingFileTests {
    @Test func openStackReadsOurFiles() throws {
        let reference = try OpenStackSwift()
        var builder = try Clusters.builder(
            partPower: 8, replicas: 3.25, regions: 2, zones: 3, nodes: 2, disks: 3, weight: { 50 + Double($0 % 4) * 25 }
        )
        try builder.add(RingDevice(region: 3, zone: 9, ip: "::1", port: 1, device: "d", weight: 1, meta: "\"é\\🙂\n"))
        try builder.rebalance(now: 1_000_000)
        try builder.remove(4)
        try builder.rebalance(now: 1_000_000)
        try reference.directory.write(RingFile.encode(builder.ring()), to: "ours.ring.gz")
        try reference.expectSamePlaces(builder.ring(), file: "ours.ring.gz", paths: 10_000, seed: 11)
        let devices = try reference.python(
            """
            import json
            from swift.common.ring import RingData
            data = RingData.load('ours.ring.gz')
            print(json.dumps([data.version, data.devs], sort_keys=True))
            """)
        let expected = JSONValue.array([
            .integer(builder.version), .array(builder.devices.map { $0?.json ?? .null }),
        ])
        #expect(try JSONValue(parsing: devices.utf8) == expected)
    }

    @Test func filesOfRingBuilderLoad() throws {
        let reference = try OpenStackSwift()
        let devices = (0..<12).map { number in
            let place =
                "r\(number % 2)z\(number % 3)-10.0.\(number % 2).\(number % 6):6200R10.9.0.1:6300/sd\(number)_some meta"
            return ["object.builder", "add", place, "\(100 + number * 10)"]
        }
        try reference.ringBuilder(
            [["object.builder", "create", "8", "3", "1"]] + devices + [
                ["object.builder", "rebalance", "--seed", "5"], ["object.builder", "remove", "d3"],
                ["object.builder", "rebalance", "--seed", "6"],
            ])
        let ring = try RingFile.decode(try reference.directory.read("object.ring.gz"))
        #expect(ring.partPower == 8)
        #expect(ring.replicaCount == 3)
        #expect(ring.devices.count == 12)
        #expect(ring.devices[3] == nil)
        #expect(ring.devices[1]?.region == 1)
        #expect(ring.devices[1]?.replicationIP == "10.9.0.1")
        #expect(ring.devices[1]?.replicationPort == 6300)
        #expect(ring.devices[1]?.meta == "some meta")
        #expect(ring.devices[1]?.weight == 110)
        try reference.expectSamePlaces(ring, file: "object.ring.gz", paths: 10_000, seed: 12)

        // And once more through our own writer.
        try reference.directory.write(RingFile.encode(ring), to: "again.ring.gz")
        try reference.expectSamePlaces(ring, file: "again.ring.gz", paths: 500, seed: 13)
    }

    @Test func manyPartitionsAreSearchedInSteps() throws {
        let reference = try OpenStackSwift()
        try reference.python(RingFileScripts.writeManyPartitions)
        let ring = try RingFile.decode(try reference.directory.read("wide.ring.gz"))
        #expect(ring.version == 5)
        try reference.expectSamePlaces(ring, file: "wide.ring.gz", paths: 300, seed: 14)
    }

    @Test(arguments: [2, 4]) func version2IsRead(idBytes: Int) throws {
        let reference = try OpenStackSwift()
        let rows = try reference.python(RingFileScripts.writeVersion2, ["\(idBytes)"])
            .split(separator: "\n").map { $0.split(separator: " ").compactMap { Int($0) } }
        let ring = try RingFile.decode(try reference.directory.read("two.ring.gz"))
        #expect(ring.version == 77)
        #expect(ring.partPower == 8)
        #expect(ring.replicaCount == 2.5)
        #expect(ring.devices[4] == nil)
        #expect(ring.devices[3]?.meta == "méta")
        for (replica, row) in rows.enumerated() {
            #expect(row == (0..<256).compactMap { ring.device(ofReplica: replica, of: $0) })
        }
    }

    @Test func largeIDsAreWrittenAsVersion2() throws {
        let reference = try OpenStackSwift()
        var builder = try RingBuilder(partPower: 6, replicas: 2.5, minPartHours: 0)
        for id in [0, 65534, 65535, 70_000] {
            try builder.add(RingDevice(zone: id, ip: "10.0.0.1", port: 6200, device: "sd\(id)", weight: 1), id: id)
        }
        try builder.rebalance(now: 1_000_000)
        let ring = builder.ring()
        let bytes = RingFile.encode(ring)
        try reference.directory.write(bytes, to: "large.ring.gz")
        let lines = try reference.python(RingFileScripts.readVersion2, ["large.ring.gz"]).split(separator: "\n")
        #expect(
            lines[0] == """
                {"dev_id_bytes": 4, "part_shift": 26, "replica_count": 2.5, "version": \(builder.version)}
                """)
        #expect(lines[1] == "70001 sd70000")
        let ids = (0..<3).flatMap { replica in
            (0..<64).compactMap { ring.device(ofReplica: replica, of: $0) }
        }
        #expect(lines[2] == ids.map(String.init).joined(separator: " "))
        #expect(Set(ids) == [0, 65534, 65535, 70_000])
        #expect(assignments(try RingFile.decode(bytes)) == assignments(ring))
    }

    @Test func equalRingsAreEqualFiles() throws {
        var builder = try Clusters.builder(partPower: 6, zones: 3, disks: 2)
        try builder.rebalance(now: 1_000_000)
        let bytes = RingFile.encode(builder.ring())
        #expect(bytes == RingFile.encode(builder.ring()))
        #expect(bytes == RingFile.encode(try RingFile.decode(bytes)))
    }

    @Test func emptyRing() throws {
        let builder = try RingBuilder(partPower: 8, replicas: 3, minPartHours: 1)
        let ring = try RingFile.decode(RingFile.encode(builder.ring()))
        #expect(ring.primaries(of: 255).isEmpty)
        #expect(Array(ring.handoffs(of: 0)).isEmpty)
    }

    private func assignments(_ ring: Ring) -> [[Int]] {
        (0..<ring.partitionCount).map { Array(ring.primaries(of: $0)) }
    }
}
