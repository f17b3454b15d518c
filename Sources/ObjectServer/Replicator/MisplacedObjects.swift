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
    private static let page = 512
    /// Partitions at once.
    private static let width = 4

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
            return BoundedTasks.run(partitions.count, width: Self.width, on: eventLoop, pause: control.timeToNextStep) {
                [self] in
                give(HashRange(partition: partitions[$0], partPower: ring.partPower), of: partitions[$0])
                    .assumeIsolated().flatMapError { [self] _ in incomplete() }.nonisolated()
            }
        }.flatMapError { [self] _ in incomplete() }.nonisolated()
    }

    private func incomplete() -> EventLoopFuture<Void> {
        isComplete = false
        return eventLoop.makeSucceededVoidFuture()
    }

    private func give(_ range: HashRange, of partition: Int) -> EventLoopFuture<Void> {
        let query = VersionQuery(device: device, policy: policy, range: range, limit: Self.page)
        return server.workers.runIfActive(eventLoop: eventLoop) { [log] in try log.versions(query) }
            .flatMap { [self] page in
                guard let last = page.versions.last else { return eventLoop.makeSucceededVoidFuture() }
                var covered = range
                if !page.isWhole { covered.last = last.hash }
                return give(page.versions, in: covered, to: ring.primaries(of: partition).deviceIDs)
                    .flatMap { [self] in
                        guard !page.isWhole, let next = last.hash.successor else {
                            return eventLoop.makeSucceededVoidFuture()
                        }
                        return give(HashRange(first: next, last: range.last), of: partition)
                    }
            }
    }

    /// To each primary in turn: the second may fetch while the first is done already, but one answer at a time is enough to keep a node busy.
    private func give(
        _ versions: [ReplicaVersion], in range: HashRange, to primaries: [UInt16]
    ) -> EventLoopFuture<Void> {
        var held = eventLoop.makeSucceededFuture(Set(versions.map(\.hash)))
        for primary in primaries {
            held = held.flatMap { [self] held in
                give(versions.filter { held.contains($0.hash) }, in: range, to: primary)
            }
        }
        return held.flatMap { [self] held in
            _ = control.step(Int64(held.count))
            return evict(versions.filter { held.contains($0.hash) })
        }
    }

    /// Those that the primary has in the end.
    private func give(
        _ versions: [ReplicaVersion], in range: HashRange, to primary: UInt16
    ) -> EventLoopFuture<Set<PathHash>> {
        guard let node = server.nodes.node(ofDevice: primary), !versions.isEmpty else {
            return eventLoop.makeSucceededFuture([])
        }
        let query = VersionQuery(device: primary, policy: policy, range: range)
        return node.ask(.replication(.versions(query)), within: Self.timeout, on: eventLoop).flatMap { [self] reply in
            guard case .replication(.versions(let page)) = reply else { return eventLoop.makeSucceededFuture([]) }
            let theirs = Dictionary(page.versions.map { ($0.hash, $0) }) { first, _ in first }
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
    }

    private func evict(_ versions: [ReplicaVersion]) -> EventLoopFuture<Void> {
        let outcomes = versions.map { version in
            let write = EvictionWrite(sink: server.sinks.sink(for: eventLoop), on: eventLoop)
            log.submit(
                .evict(
                    ObjectKey(policy: policy, hash: version.hash), timestamp: version.timestamp.rawValue),
                completion: write)
            return write.promise.futureResult
        }
        return EventLoopFuture.whenAllSucceed(outcomes, on: eventLoop).map { [self] outcomes in
            let gone = outcomes.count { $0 }
            evicted += gone
            left = max(0, left - Int64(gone))
            progress(self)
        }
    }
}

private final class EvictionWrite: WriteCompletion {
    let sink: any CompletionSink
    let promise: EventLoopPromise<Bool>

    init(sink: EventLoopSink, on eventLoop: any EventLoop) {
        self.sink = sink
        promise = eventLoop.makePromise()
    }

    func completed(_ outcome: WriteOutcome) {
        if case .stored = outcome { promise.succeed(true) } else { promise.succeed(false) }
    }
}
