import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// A comparison of some partitions of one device with those of another: digests first, then keys and versions where they differ.
///
/// Unchecked: bound to its event loop.
final class PairComparison: @unchecked Sendable {
    let own: UInt16
    let other: UInt16
    let policy: UInt8
    private let partPower: Int
    /// Whether the own device took the place of the other.
    private let isSuccessor: Bool
    private let log: DeviceLog
    private let node: any StorageNode
    private let workers: NIOThreadPool
    private let eventLoop: any EventLoop
    /// Hears of the differences of each range that differs; its future says whether what is newer there is here now.
    private let differ: (VersionDifference) -> EventLoopFuture<Bool>
    private(set) var differingPartitions = 0
    /// Partitions of which something newer may still be there: they could not be compared, or not everything could be brought.
    private(set) var unsettled: Set<UInt32> = []

    private static let timeout = TimeAmount.seconds(30)
    private static let partitionsPerQuery = 4096
    /// Partitions whose keys are compared at once.
    private static let width = 8

    init(
        own: UInt16, other: UInt16, policy: UInt8, partPower: Int, isSuccessor: Bool, log: DeviceLog,
        node: any StorageNode, workers: NIOThreadPool, on eventLoop: any EventLoop,
        differ: @escaping (VersionDifference) -> EventLoopFuture<Bool>
    ) {
        self.own = own
        self.other = other
        self.policy = policy
        self.partPower = partPower
        self.isSuccessor = isSuccessor
        self.log = log
        self.node = node
        self.workers = workers
        self.eventLoop = eventLoop
        self.differ = differ
    }

    /// On the event loop; never fails.
    func run(_ partitions: [UInt32]) -> EventLoopFuture<Void> {
        let size = Self.partitionsPerQuery
        let parts = stride(from: 0, to: partitions.count, by: size).map {
            Array(partitions[$0..<min($0 + size, partitions.count)])
        }
        return BoundedTasks.run(parts.count, width: 1, on: eventLoop) { [self] in compareDigests(parts[$0]) }
    }

    private func compareDigests(_ partitions: [UInt32]) -> EventLoopFuture<Void> {
        var query = DigestQuery(
            device: other, policy: policy, partPower: UInt8(partPower), partitions: partitions,
            mustBeForeign: isSuccessor)
        let asked = node.ask(.replication(.digests(query)), within: Self.timeout, on: eventLoop)
        query.device = own
        let counted = workers.runIfActive(eventLoop: eventLoop) { [log, query] in try log.digests(query) }
        return asked.and(counted).flatMap { [self] reply, own in
            guard case .replication(.digests(let theirs)) = reply, theirs.count == own.count else {
                unsettled.formUnion(partitions)
                return eventLoop.makeSucceededVoidFuture()
            }
            let differing = partitions.indices.filter { own[$0] != theirs[$0] }.map { partitions[$0] }
            differingPartitions += differing.count
            return BoundedTasks.run(differing.count, width: Self.width, on: eventLoop) { [self] in
                let partition = differing[$0]
                return compareVersions(HashRange(partition: Int(partition), partPower: partPower), of: partition)
            }
        }.flatMapError { [self] _ in
            unsettled.formUnion(partitions)
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    private func compareVersions(_ range: HashRange, of partition: UInt32) -> EventLoopFuture<Void> {
        let query = VersionQuery(device: other, policy: policy, range: range)
        return node.ask(.replication(.versions(query)), within: Self.timeout, on: eventLoop).flatMap { [self] reply in
            guard case .replication(.versions(let page)) = reply else {
                unsettled.insert(partition)
                return eventLoop.makeSucceededVoidFuture()
            }
            let last = page.isWhole ? range.last : page.versions.last?.hash ?? range.last
            return compare(page.versions, in: HashRange(first: range.first, last: last), of: partition)
                .flatMap { [self] in
                    guard last < range.last, let next = last.successor else {
                        return eventLoop.makeSucceededVoidFuture()
                    }
                    return compareVersions(HashRange(first: next, last: range.last), of: partition)
                }
        }
    }

    private func compare(
        _ theirs: [ReplicaVersion], in range: HashRange, of partition: UInt32
    ) -> EventLoopFuture<Void> {
        workers.runIfActive(eventLoop: eventLoop) { [log, own, policy] in
            VersionDifference(own: try log.allVersions(policy: policy, in: range, device: own), other: theirs)
        }.flatMap { [self] difference in
            differ(difference).map { $0 && difference.unreadable == 0 }
        }.map { [self] isSettled in
            if !isSettled { unsettled.insert(partition) }
        }.flatMapError { [self] _ in
            unsettled.insert(partition)
            return eventLoop.makeSucceededVoidFuture()
        }
    }
}

extension DeviceLog {
    /// All versions in a range. Blocks.
    func allVersions(policy: UInt8, in range: HashRange, device: UInt16) throws(DeviceLogError) -> [ReplicaVersion] {
        try versions(VersionQuery(device: device, policy: policy, range: range, limit: .max)).versions
    }
}
