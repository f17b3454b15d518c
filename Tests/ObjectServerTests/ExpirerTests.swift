import Daemon
import DeviceLog
import NIOCore
import Ring
import StorageWire
import Testing

@testable import ObjectServer

struct ExpirerTests {
    private static let key = ObjectKey(policy: 0, hash: PathHash(high: 0x1234_5678_9abc_def0, low: 1))

    private func head(deleteAt: Int64) -> ByteBuffer {
        ObjectHead(
            account: [1], container: [2], object: [3], size: 1, etag: [], contentType: [], deleteAt: deleteAt
        ).encoded()
    }

    private func put(
        at timestamp: UInt64, deleteAt: Int64, on devices: some Sequence<UInt16>, _ cluster: ReplicaCluster
    ) async throws {
        for device in devices {
            let put = PutObject(
                address: ObjectAddress(device: device, policy: 0, hash: Self.key.hash),
                timestamp: Timestamp(rawValue: timestamp), condition: .none, row: nil, head: head(deleteAt: deleteAt),
                body: ByteBuffer(string: "x"))
            guard case .stored = try await cluster.ask(.putObject(put), on: device) else {
                Issue.record("not stored")
                return
            }
        }
    }

    private func kinds(_ cluster: ReplicaCluster) throws -> [ObjectVersion.Kind] {
        try cluster.primaries(Self.key).map { try cluster.version(Self.key, on: $0).kind }
    }

    private func runPasses(at seconds: Int64, _ cluster: ReplicaCluster, on devices: [UInt16]? = nil) async throws {
        for device in devices ?? cluster.primaries(Self.key) {
            let expirer = cluster.expirer(device, at: seconds)
            expirer.start()
            try await expirer.runPass().get()
            expirer.stop()
            #expect(expirer.control.status.lastError == "")
        }
    }

    @Test func whatCeasesIsDeletedHalfAMinuteAfterItsTime() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        try await put(at: 10, deleteAt: 1000, on: cluster.primaries(Self.key), cluster)
        try await runPasses(at: 1029, cluster)
        #expect(try kinds(cluster) == [.live, .live, .live])
        try await runPasses(at: 1030, cluster)
        #expect(try kinds(cluster) == [.tombstone, .tombstone, .tombstone])
        #expect(try cluster.version(Self.key, on: cluster.primaries(Self.key)[0]).timestamp == 11)
        try await cluster.close()
    }

    @Test func theOthersBeginOnlyWhenTheFirstIsAwayForLong() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        let primaries = cluster.primaries(Self.key)
        try await put(at: 10, deleteAt: 1000, on: primaries, cluster)
        cluster.setAway(primaries[0], true)
        try await runPasses(at: 1100, cluster, on: Array(primaries.dropFirst()))
        #expect(try kinds(cluster) == [.live, .live, .live])
        try await runPasses(at: 1330, cluster, on: Array(primaries.dropFirst()))
        #expect(try kinds(cluster) == [.live, .tombstone, .tombstone])
        cluster.setAway(primaries[0], false)
        try await runPasses(at: 1330, cluster)
        #expect(try kinds(cluster) == [.tombstone, .tombstone, .tombstone])
        try await cluster.close()
    }

    /// The first primary has missed that the object was written again.
    @Test func whatWasWrittenAgainStays() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        let primaries = cluster.primaries(Self.key)
        try await put(at: 10, deleteAt: 1000, on: primaries, cluster)
        try await put(at: 20, deleteAt: 0, on: primaries.dropFirst(), cluster)
        try await runPasses(at: 5000, cluster)
        #expect(try kinds(cluster) == [.tombstone, .live, .live])
        try await cluster.runPasses()
        #expect(try kinds(cluster) == [.live, .live, .live])
        try await cluster.close()
    }

    @Test func whatIsToCeaseLaterStays() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        let primaries = cluster.primaries(Self.key)
        try await put(at: 10, deleteAt: 1000, on: primaries, cluster)
        for device in primaries {
            let update = UpdateObject(
                address: ObjectAddress(device: device, policy: 0, hash: Self.key.hash),
                timestamp: Timestamp(rawValue: 15), base: Timestamp(rawValue: 10), row: nil,
                head: head(deleteAt: 9000))
            guard case .stored = try await cluster.ask(.updateObject(update), on: device) else {
                Issue.record("not updated")
                return
            }
        }
        try await runPasses(at: 5000, cluster)
        #expect(try kinds(cluster) == [.live, .live, .live])
        try await runPasses(at: 9030, cluster)
        #expect(try kinds(cluster) == [.tombstone, .tombstone, .tombstone])
        try await cluster.close()
    }

    /// A replica that was fetched from another one ceases as well.
    @Test func whatTheReplicatorBroughtCeases() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        let primaries = cluster.primaries(Self.key)
        try await put(at: 10, deleteAt: 1000, on: primaries.dropFirst(), cluster)
        try await cluster.runPasses()
        #expect(try kinds(cluster) == [.live, .live, .live])
        try await runPasses(at: 1030, cluster, on: [primaries[0]])
        #expect(try kinds(cluster) == [.tombstone, .tombstone, .tombstone])
        try await cluster.close()
    }

    @Test func entriesAreInTheOrderOfTime() {
        let entries = [(1, 0xff), (255, 3), (256, 2), (1 << 40, 1)].map { seconds, high in
            ExpiryIndex.Entry(
                seconds: seconds, key: ObjectKey(policy: 1, hash: PathHash(high: UInt64(high), low: 7)), timestamp: 5)
        }
        for (earlier, later) in zip(entries, entries.dropFirst()) {
            #expect(earlier.name.lexicographicallyPrecedes(later.name))
        }
        for entry in entries {
            #expect(entry.name.withUnsafeBytes { ExpiryIndex.Entry(name: $0, timestamp: 5) } == entry)
        }
    }
}
