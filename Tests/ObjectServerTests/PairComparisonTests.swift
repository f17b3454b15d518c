import DeviceLog
import NIOCore
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ObjectServer

struct PairComparisonTests {
    /// Both devices have stretches that the other one lacks, longer than a page.
    @Test(arguments: [1, 3, 7, 1000]) func pagesMissNothingAndComeOneAfterTheOther(page: Int) async throws {
        let cluster = try ReplicaCluster(devices: 3, partPower: 1)
        let keys = (0..<120 as Range<UInt64>).map { ObjectReplicatorTests.key($0) }.sorted { $0.hash < $1.hash }
        var wanted: Set<PathHash> = []
        for (place, key) in keys.enumerated() {
            let stretch = place / 10 % 4
            if stretch != 0 { cluster.logs[0]!.put(key, at: stretch == 1 ? 5 : 10, text: "own") }
            if stretch != 2 { cluster.logs[1]!.put(key, at: 10, text: "theirs") }
            if stretch == 0 || stretch == 1 { wanted.insert(key.hash) }
        }
        let brought = Mutex<[PathHash]>([])
        let atOnce = Mutex((now: 0, most: 0))
        let comparison = cluster.comparison(0, with: 1, page: page) { versions in
            #expect(versions.count <= page)
            brought.withLock { $0 += versions.map(\.hash) }
            atOnce.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
            return cluster.eventLoop.scheduleTask(in: .milliseconds(1)) {
                atOnce.withLock { $0.now -= 1 }
                return []
            }.futureResult
        }
        try await cluster.run(comparison, [0, 1])
        #expect(comparison.unsettled.isEmpty)
        #expect(brought.withLock { $0.count } == wanted.count)
        #expect(Set(brought.withLock { $0 }) == wanted)
        #expect(atOnce.withLock { $0.most } <= 1)
        try await cluster.close()
    }
}
