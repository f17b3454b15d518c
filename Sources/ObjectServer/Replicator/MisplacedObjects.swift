import Daemon
import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// Gives what a device has and should not have to the devices that it belongs to, and then gives it up: what was written to a handoff, and
/// what a change of the ring moved.
///
/// Unchecked: bound to its event loop.
final class MisplacedObjects: @unchecked Sendable {
    private let device: UInt16
    private let policy: UInt8
    private let ring: Ring
    private let log: DeviceLog
    private let server: ObjectServer
    private let control: WorkerControl
    private let eventLoop: any EventLoop
    /// Objects that all their primaries have, and that are gone from here.
    private(set) var evicted = 0
    /// Objects that are still here: at first all, at the end those that at least one primary did not take.
    private(set) var left: Int64 = 0
    /// Of what was found at first.
    private var found = StoredAmount()
    /// Whether everything was looked at.
    private(set) var isComplete = true
    /// Told whenever some are gone.
    private let progress: (MisplacedObjects) -> Void

    private static let timeout = TimeAmount.seconds(60)
    private static let page = FetchObjects.maximumHashes
    /// Partitions that are given away together, and such groups at once.
    private static let partitionsPerGroup = 64
    private static let width = 2

    init(
        device: UInt16, policy: UInt8, ring: Ring, log: DeviceLog, server: ObjectServer, control: WorkerControl,
        on eventLoop: any EventLoop, progress: @escaping (MisplacedObjects) -> Void
    ) {
        self.device = device
        self.policy = policy
        self.ring = ring
        self.log = log
        self.server = server
        self.control = control
        self.eventLoop = eventLoop
        self.progress = progress
    }

    /// Of those that are left, each as large as all were in the mean.
    var leftBytes: Int64 {
        found.objects == 0 ? 0 : Int64(Double(found.bytes) * min(1, Double(left) / Double(found.objects)))
    }

    /// On the event loop; never fails.
    func run() -> EventLoopFuture<Void> {
        let found = server.workers.runIfActive(eventLoop: eventLoop) { [log, ring, device, policy] in
            let foreign = (0..<ring.partitionCount).filter { !ring.primaries(of: $0).contains(Int(device)) }
            let digests = try log.digests(
                policy: policy, partPower: ring.partPower, partitions: foreign.map { UInt32($0) })
            let partitions = zip(foreign, digests).filter { $0.1 != 0 }.map(\.0)
            let amount = try log.amount(
                policy: policy, partPower: ring.partPower, partitions: partitions.map { UInt32($0) })
            return (partitions, amount)
        }
        return found.assumeIsolated().flatMap { [self] partitions, amount in
            self.found = amount
            left = amount.objects
            progress(self)
            let groups = partitions.map { UInt32($0) }.parts(of: Self.partitionsPerGroup)
            return BoundedTasks.run(groups.count, width: Self.width, on: eventLoop, pause: control.timeToNextStep) {
                [self] in
                give(groups[$0], from: PathHash(high: 0, low: 0)).assumeIsolated().flatMapError { [self] _ in
                    incomplete()
                }.nonisolated()
            }
        }.flatMapError { [self] _ in incomplete() }.nonisolated()
    }

    private func incomplete() -> EventLoopFuture<Void> {
        isComplete = false
        return eventLoop.makeSucceededVoidFuture()
    }

    private func give(_ partitions: [UInt32], from first: PathHash) -> EventLoopFuture<Void> {
        let query = VersionQuery(
            device: device, policy: policy, partPower: ring.partPower, partitions: partitions, first: first,
            limit: Self.page)
        return server.workers.runIfActive(eventLoop: eventLoop) { [log] in try log.versions(query) }
            .flatMap { [self] page in
                give(page.versions).flatMap { [self] in
                    guard !page.isWhole, let next = page.versions.last?.hash.successor else {
                        return eventLoop.makeSucceededVoidFuture()
                    }
                    return give(partitions, from: next)
                }
            }
    }

    /// To each of their primaries in turn: the second may fetch while the first is done already, but one answer at a time is enough to keep
    /// a node busy. Those that all have are given up.
    private func give(_ versions: [ReplicaVersion]) -> EventLoopFuture<Void> {
        var wanting: [UInt16: [ReplicaVersion]] = [:]
        for version in versions {
            for primary in ring.primaries(of: version.hash).deviceIDs { wanting[primary, default: []].append(version) }
        }
        var missing = eventLoop.makeSucceededFuture(Set<PathHash>())
        for (primary, wanted) in wanting.sorted(by: { $0.key < $1.key }) {
            missing = missing.flatMap { [self] missing in
                // What one did not take stays, and is offered to all with the next pass.
                let offered = wanted.filter { !missing.contains($0.hash) }
                return give(offered, to: primary).map { held in
                    missing.union(offered.map(\.hash).filter { !held.contains($0) })
                }
            }
        }
        return missing.flatMap { [self] missing in
            let given = versions.filter { !missing.contains($0.hash) }
            _ = control.step(Int64(given.count))
            return evict(given)
        }
    }

    /// Those that the primary has in the end.
    private func give(_ versions: [ReplicaVersion], to primary: UInt16) -> EventLoopFuture<Set<PathHash>> {
        guard let node = server.nodes.node(ofDevice: primary), !versions.isEmpty else {
            return eventLoop.makeSucceededFuture([])
        }
        let partitions = Set(versions.map { UInt32(ring.partition(of: $0.hash)) }).sorted()
        let query = VersionQuery(
            device: primary, policy: policy, partPower: ring.partPower, partitions: partitions, first: versions[0].hash,
            // Usually it has little else in these partitions.
            limit: versions.count * 2)
        return theirs(query, through: versions[versions.count - 1].hash, on: node)
            .flatMap { [self] theirs in
                guard let theirs else { return eventLoop.makeSucceededFuture([]) }
                return give(versions, to: primary, on: node, that: theirs)
            }
    }

    /// What a primary has; nil when it did not say.
    private func theirs(
        _ query: VersionQuery, through last: PathHash, on node: any StorageNode
    ) -> EventLoopFuture<[PathHash: ReplicaVersion]?> {
        node.versions(query, within: Self.timeout, on: eventLoop).flatMap { [self] reply in
            guard case .replication(.versions(let page)) = reply else { return eventLoop.makeSucceededFuture(nil) }
            let known = Dictionary(page.versions.map { ($0.hash, $0) }) { first, _ in first }
            guard !page.isWhole, let end = page.versions.last?.hash, end < last, let next = end.successor else {
                return eventLoop.makeSucceededFuture(known)
            }
            var rest = query
            rest.first = next
            return theirs(rest, through: last, on: node).map { rest in
                rest.map { known.merging($0) { first, _ in first } }
            }
        }
    }

    private func give(
        _ versions: [ReplicaVersion], to primary: UInt16, on node: any StorageNode,
        that theirs: [PathHash: ReplicaVersion]
    ) -> EventLoopFuture<Set<PathHash>> {
        let isLacking = versions.map { own in
            guard let other = theirs[own.hash], other.kind != .quarantined else { return true }
            return VersionDifference.isBetter(own, than: other)
        }
        let held = Set(zip(versions, isLacking).filter { !$0.1 }.map(\.0.hash))
        let lacking = zip(versions, isLacking).filter { $0.1 && $0.0.kind != .quarantined }.map(\.0.hash)
        guard !lacking.isEmpty else { return eventLoop.makeSucceededFuture(held) }
        let fetch = FetchObjects(device: primary, source: device, policy: policy, hashes: lacking)
        return node.ask(.replication(.fetch(fetch)), within: Self.timeout, on: eventLoop).map { reply in
            guard case .replication(.fetched(let flags)) = reply, flags.count == lacking.count else { return held }
            return held.union(zip(lacking, flags).filter(\.1).map(\.0))
        }
    }

    private func evict(_ versions: [ReplicaVersion]) -> EventLoopFuture<Void> {
        let outcomes = versions.map { version in
            server.evict(
                ObjectKey(policy: policy, hash: version.hash), version.timestamp, log, on: eventLoop)
        }
        return EventLoopFuture.whenAllSucceed(outcomes, on: eventLoop).map { [self] outcomes in
            let gone = outcomes.count { $0 }
            evicted += gone
            left = max(0, left - Int64(gone))
            progress(self)
        }
    }
}
