import Ring
import Testing

@Suite struct RingTests {
    @Test func primariesAreInColumnOrderWithoutDuplicates() throws {
        var builder = try Clusters.builder(partPower: 6, replicas: 10, zones: 12, disks: 1)
        try builder.rebalance(now: 1_000_000)
        let ring = builder.ring()
        for (partition, ids) in builder.assignments.enumerated() {
            #expect(Array(ring.primaries(of: partition)) == ids, "more replicas than are held in place")
        }
    }

    @Test func handoffsAreTheOtherDevicesFarthestFirst() throws {
        var builder = try Clusters.builder(partPower: 8, regions: 2, zones: 2, nodes: 2, disks: 2)
        try builder.rebalance(now: 1_000_000)
        let ring = builder.ring()
        for partition in 0..<ring.partitionCount {
            let primaries = Array(ring.primaries(of: partition))
            let handoffs = Array(ring.handoffs(of: partition))
            #expect(Set(primaries + handoffs) == Set(0..<16))
            #expect(primaries.count + handoffs.count == 16)
            func zone(_ id: Int) -> [Int] { [ring.devices[id]!.region, ring.devices[id]!.zone] }
            let taken = Set(primaries.map(zone))
            if taken.count < 4 { #expect(!taken.contains(zone(handoffs[0])), "a new zone comes first") }
        }
    }

    @Test func handoffsAreFoundAsTheyAreAskedFor() throws {
        var builder = try Clusters.builder(partPower: 8, zones: 5, disks: 4)
        try builder.rebalance(now: 1_000_000)
        let ring = builder.ring()
        let all = Array(ring.handoffs(of: 9))
        #expect(Array(ring.handoffs(of: 9).prefix(2)) == Array(all.prefix(2)))
    }

    @Test func partitionIsTheTopOfTheHash() throws {
        let builder = try RingBuilder(partPower: 14, replicas: 1, minPartHours: 0)
        // md5("/a/c/o") begins with 0x8de4
        let hash = PathHasher(prefix: [], suffix: []).hash(path: "/a/c/o".utf8)
        #expect(builder.ring().partition(of: hash) == Int(hash.high >> 50))
        #expect(try RingBuilder(partPower: 0, replicas: 1, minPartHours: 0).ring().partition(of: hash) == 0)
    }
}
