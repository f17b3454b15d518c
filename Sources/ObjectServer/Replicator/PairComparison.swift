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
    /// Brings what is newer there; its future says what of it did not come.
    private let bring: ([ReplicaVersion]) -> EventLoopFuture<[PathHash]>
    private(set) var differingPartitions = 0
    /// Partitions of which both had the same.
    private(set) var alike: [UInt32] = []
    /// Partitions of which something newer may still be there: they could not be compared, or not everything could be brought.
    private(set) var unsettled: Set<UInt32> = []

    private static let timeout = TimeAmount.seconds(30)
    private static let partitionsPerQuery = 4096
    /// Partitions that differ whose keys are asked for together, and such groups at once: one is written while the next is asked for.
    private static let partitionsPerGroup = 256
    private static let width = 2
    /// Versions that each is asked for at once.
    private let page: Int

    init(
        own: UInt16, other: UInt16, policy: UInt8, partPower: Int, isSuccessor: Bool, log: DeviceLog,
        node: any StorageNode, workers: NIOThreadPool, page: Int = VersionQuery.maximumLimit,
        on eventLoop: any EventLoop,
        bring: @escaping ([ReplicaVersion]) -> EventLoopFuture<[PathHash]>
    ) {
        self.own = own
        self.other = other
        self.policy = policy
        self.partPower = partPower
        self.isSuccessor = isSuccessor
        self.log = log
        self.node = node
        self.workers = workers
        self.page = page
        self.eventLoop = eventLoop
        self.bring = bring
    }

    /// On the event loop; never fails.
    func run(_ partitions: [UInt32]) -> EventLoopFuture<Void> {
        let parts = partitions.parts(of: Self.partitionsPerQuery)
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
            alike += partitions.indices.filter { own[$0] == theirs[$0] }.map { partitions[$0] }
            let groups = differing.parts(of: Self.partitionsPerGroup)
            return BoundedTasks.run(groups.count, width: Self.width, on: eventLoop) { [self] in
                compareVersions(groups[$0], from: PathHash(high: 0, low: 0))
            }
        }.flatMapError { [self] _ in
            unsettled.formUnion(partitions)
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    /// A page of both, as far as both reach; the next one when what is newer there has come.
    private func compareVersions(_ partitions: [UInt32], from first: PathHash) -> EventLoopFuture<Void> {
        var query = VersionQuery(
            device: other, policy: policy, partPower: partPower, partitions: partitions, first: first,
            limit: page)
        let asked = node.versions(query, within: Self.timeout, on: eventLoop)
        query.device = own
        let walked = workers.runIfActive(eventLoop: eventLoop) { [log, query] in try log.versions(query) }
        return asked.and(walked).flatMap { [self] reply, own in
            guard case .replication(.versions(let theirs)) = reply, theirs.isWhole || !theirs.versions.isEmpty else {
                unsettled.formUnion(partitions)
                return eventLoop.makeSucceededVoidFuture()
            }
            let last = [own, theirs].compactMap(\.last).min()
            return compare(own.through(last), theirs.through(last)).flatMap { [self] in
                guard let next = last?.successor else { return eventLoop.makeSucceededVoidFuture() }
                return compareVersions(partitions, from: next)
            }
        }.flatMapError { [self] _ in
            unsettled.formUnion(partitions)
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    private func compare(_ own: [ReplicaVersion], _ theirs: [ReplicaVersion]) -> EventLoopFuture<Void> {
        let difference = VersionDifference(own: own, other: theirs)
        return bring(difference.wanted).map { [self] missing in
            let hashes = difference.unreadable + missing
            unsettled.formUnion(hashes.map { UInt32($0.partition(partPower: partPower)) })
        }
    }
}

extension VersionPage {
    /// Up to which hash it says everything; nil: to the end.
    fileprivate var last: PathHash? { isWhole ? nil : versions.last?.hash }

    fileprivate func through(_ last: PathHash?) -> [ReplicaVersion] {
        guard let last else { return versions }
        return Array(versions.prefix { !(last < $0.hash) })
    }
}

extension Array {
    /// Its elements in arrays of `size` each, the last of what is left.
    func parts(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
