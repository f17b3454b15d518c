import StorageWire
import Testing

@testable import ClusterMap

struct SettlingTests {
    private static func device(_ id: UInt16, settled: Int64 = 2) -> DeviceStatus {
        DeviceStatus(
            device: id, name: "d\(id)", state: "ok", totalBytes: 1, freeBytes: 1, objects: 1, tombstones: 0, rows: 0,
            liveBytes: 0, garbageBytes: 0, queueDepth: 0, pendingUpdates: 0, quarantined: 0, commits: 0,
            committedRecords: 0, behindPartitions: 0, misplacedObjects: 0, misplacedBytes: 0, misplacedTables: 0,
            settledVersion: settled)
    }

    /// Of the pair of nodes of version 2.
    private static let settled = [
        ClusterMapTests.first: NodeStatus(ringsVersion: 2, devices: (0..<4).map { device($0) }),
        ClusterMapTests.second: NodeStatus(ringsVersion: 2, devices: [device(4)]),
    ]

    @Test func allIsSettledWhenEveryDeviceIs() throws {
        let settling = Settling(try ClusterMapTests.pair(), statuses: Self.settled)
        #expect(settling.isSettled)
        #expect(settling.devices.map(\.isSettled) == [Bool](repeating: true, count: 5))
        #expect(settling.devices.map(\.partitions).reduce(0, +) == 3 * 3 * 128)
        // The rings before are still kept.
        #expect(!settling.isDone)
    }

    @Test func aNodeThatDoesNotAnswerMayHaveAnything() throws {
        var statuses = Self.settled
        statuses[ClusterMapTests.second] = nil
        let settling = Settling(try ClusterMapTests.pair(), statuses: statuses)
        #expect(settling.obstacles == ["node bb does not answer"])
        let map = try ClusterMapTests.pair().applying(.removeNode(name: "bb", force: true), id: "r", now: 1_000_005).map
        var alone = statuses
        alone[ClusterMapTests.first] = NodeStatus(
            ringsVersion: 3, devices: (0..<4).map { Self.device($0, settled: 3) })
        #expect(Settling(map, statuses: alone).isSettled)
    }

    @Test(
        arguments: [
            \DeviceStatus.behindPartitions, \.misplacedObjects, \.misplacedTables, \.settledVersion,
        ] as [any WritableKeyPath<DeviceStatus, Int64> & Sendable])
    func whatIsLeftOnOneDeviceIsNamed(_ figure: any WritableKeyPath<DeviceStatus, Int64> & Sendable) throws {
        var statuses = Self.settled
        statuses[ClusterMapTests.first]?.devices[2][keyPath: figure] = 1
        let settling = Settling(try ClusterMapTests.pair(), statuses: statuses)
        #expect(settling.obstacles.count == 1)
        #expect(settling.obstacles[0].hasPrefix("device a/d3 "))
        #expect(settling.devices.map(\.isSettled) == [true, true, false, true, true])
    }

    @Test func olderRingsAndMissingDevicesAreNotSettled() throws {
        var statuses = Self.settled
        statuses[ClusterMapTests.second]?.ringsVersion = 1
        statuses[ClusterMapTests.first]?.devices.removeFirst()
        let settling = Settling(try ClusterMapTests.pair(), statuses: statuses)
        #expect(
            settling.obstacles == [
                "device a/d1 is not served", "node bb still works with the rings of map version 1",
            ])
    }

    /// What was found settled says nothing of rings that came since.
    @Test func onlyTheRingsThatWereMeantSettle() throws {
        let map = try ClusterMapTests.pair()
        #expect(throws: MapRefusal.self) { try map.applying(.settle(version: 1), id: "s", now: 1_000_005) }
        let settled = try map.applying(.settle(version: 2), id: "s", now: 1_000_005)
        #expect(settled.resting.all == [0, 0, 0])
        let asked = try map.applying(.rebalance(settled: true), id: "s", now: 1_000_005)
        #expect(settled.moved == asked.moved)
    }
}
