import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// Gives up tombstones, on all replicas together, when nothing is left that they could hide: every primary has been compared in this pass and
/// has the same, and every device of the ring has, since some time after the deletion, given away whatever did not belong on it. While a
/// device does not answer, nothing is given up: it may have the object.
///
/// Unchecked: bound to its event loop.
final class TombstoneReclaim: @unchecked Sendable {
    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let now: @Sendable () -> Timestamp
    /// From a deletion until no write that is older can still be on its way; more than clocks are apart.
    private let settling: TimeAmount
    private var lastRuns: [Place: NIODeadline] = [:]
    /// Since the start.
    private(set) var reclaimed: Int64 = 0

    private static let timeout = TimeAmount.seconds(30)

    private struct Place: Hashable {
        var device: UInt16
        var policy: UInt8
    }

    init(
        _ server: ObjectServer, settling: TimeAmount, now: @escaping @Sendable () -> Timestamp,
        on eventLoop: any EventLoop
    ) {
        self.server = server
        self.settling = settling
        self.now = now
        self.eventLoop = eventLoop
    }

    /// Whether it is time to look again at a policy of a device: its index is walked for that.
    func isDue(_ device: UInt16, _ log: DeviceLog, policy: UInt8) -> Bool {
        guard log.tombstones > 0 else { return false }
        return lastRuns[Place(device: device, policy: policy)].map {
            eventLoop.now - $0 >= .nanoseconds(settling.nanoseconds / 6)
        } ?? true
    }

    /// On the event loop; never fails.
    ///
    /// - Parameter partitions: in ascending order; those of which the device is the first primary and all the others have the same as it.
    func run(
        _ device: UInt16, _ log: DeviceLog, policy: UInt8, _ ring: Ring, ringsVersion: UInt64, partitions: [UInt32]
    ) -> EventLoopFuture<Void> {
        lastRuns[Place(device: device, policy: policy)] = eventLoop.now
        guard !partitions.isEmpty else { return eventLoop.makeSucceededVoidFuture() }
        return oldestPass(of: ring, ringsVersion).flatMap { [self] age in
            guard let age else { return eventLoop.makeSucceededVoidFuture() }
            let ticks = UInt64((settling + age).nanoseconds / 10_000)
            let before = Timestamp(ticks: now().ticks - min(now().ticks, ticks))
            return reclaim(
                device, log, policy: policy, ring, partitions, before: before, from: PathHash(high: 0, low: 0))
        }
    }

    /// How long ago the oldest of the passes began that have left nothing on the devices of a ring; nil when one of them does not say.
    private func oldestPass(of ring: Ring, _ ringsVersion: UInt64) -> EventLoopFuture<TimeAmount?> {
        var devices: Set<UInt16> = []
        var nodes: [ObjectIdentifier: any StorageNode] = [:]
        for device in ring.devices.compactMap({ $0 }) {
            let id = UInt16(truncatingIfNeeded: device.id)
            guard let node = server.nodes.node(ofDevice: id) else { return eventLoop.makeSucceededFuture(nil) }
            devices.insert(id)
            nodes[ObjectIdentifier(node)] = node
        }
        let asked = nodes.values.map { $0.ask(.replication(.passes), within: Self.timeout, on: eventLoop) }
        return EventLoopFuture.whenAllSucceed(asked, on: eventLoop).map { [devices] replies in
            var devices = devices
            var oldest: UInt64 = 0
            for case .replication(.passes(let passes)) in replies {
                for pass in passes where pass.ringsVersion == ringsVersion && devices.remove(pass.device) != nil {
                    oldest = max(oldest, pass.age)
                }
            }
            return devices.isEmpty ? .milliseconds(Int64(clamping: oldest)) : nil
        }
    }

    private func reclaim(
        _ device: UInt16, _ log: DeviceLog, policy: UInt8, _ ring: Ring, _ partitions: [UInt32], before: Timestamp,
        from first: PathHash
    ) -> EventLoopFuture<Void> {
        let walk = server.workers.runIfActive(eventLoop: eventLoop) {
            try log.tombstones(policy, ring.partPower, partitions, before: before, from: first)
        }
        return walk.flatMap { [self] page in
            give(page.tombstones, policy, ring).flatMap { [self] in
                guard let next = page.next else { return eventLoop.makeSucceededVoidFuture() }
                return reclaim(device, log, policy: policy, ring, partitions, before: before, from: next)
            }
        }.flatMapError { [self] _ in eventLoop.makeSucceededVoidFuture() }
    }

    /// One that misses this fetches them back from nobody: the others have none. Who still has them gives them to the others again, and they
    /// are given up with a later pass.
    private func give(
        _ tombstones: [ReclaimTombstones.Tombstone], _ policy: UInt8, _ ring: Ring
    ) -> EventLoopFuture<Void> {
        var byDevice: [UInt16: [ReclaimTombstones.Tombstone]] = [:]
        for tombstone in tombstones {
            for primary in ring.primaries(of: tombstone.hash).deviceIDs {
                byDevice[primary, default: []].append(tombstone)
            }
        }
        let asked = byDevice.compactMap { primary, tombstones in
            server.nodes.node(ofDevice: primary)?.ask(
                .replication(.reclaim(ReclaimTombstones(device: primary, policy: policy, tombstones: tombstones))),
                within: Self.timeout, on: eventLoop)
        }
        return EventLoopFuture.whenAllSucceed(asked, on: eventLoop).map { [self] replies in
            for case .replication(.reclaimed(let count)) in replies { reclaimed += Int64(count) }
        }
    }
}

extension DeviceLog {
    /// Some tombstones of partitions, and where to go on; nil: that was all. Blocks.
    fileprivate func tombstones(
        _ policy: UInt8, _ partPower: Int, _ partitions: [UInt32], before: Timestamp, from first: PathHash
    ) throws(DeviceLogError) -> (tombstones: [ReclaimTombstones.Tombstone], next: PathHash?) {
        var found: [ReclaimTombstones.Tombstone] = []
        var next: PathHash?
        let ranges = HashRange.of(partitions, partPower: partPower, from: first)
        try versions(policy: policy, in: ranges) { key, version in
            guard found.count < ReclaimTombstones.maximumTombstones else {
                next = key.hash
                return false
            }
            let timestamp = Timestamp(rawValue: version.timestamp)
            if version.kind == .tombstone, timestamp < before {
                found.append(ReclaimTombstones.Tombstone(hash: key.hash, timestamp: timestamp))
            }
            return true
        }
        return (found, next)
    }
}

extension ObjectServer {
    func passes(_ call: ServerCall) {
        guard let desk = fetchers.withLock({ $0 }) else {
            return call.reply(.failed(StorageFailure(.closing, "no replicator is running")))
        }
        let passes = desk.settledPasses()
        call.reply(.replication(.passes(Array(passes.prefix(SettledPass.maximumDevices)))))
    }

    func reclaim(_ reclaim: ReclaimTombstones, call: ServerCall) {
        guard let log = device(reclaim.device, call: call) else { return }
        workers.submit { [self] _ in
            // The index is asked on a worker; what is no tombstone of that time any more stays.
            let tombstones = reclaim.tombstones.filter { tombstone in
                let version = try? log.version(of: ObjectKey(policy: reclaim.policy, hash: tombstone.hash))
                return version?.kind == .tombstone && version?.timestamp == tombstone.timestamp.rawValue
            }
            call.eventLoop.execute { [self] in
                let outcomes = tombstones.map { tombstone in
                    evict(
                        ObjectKey(policy: reclaim.policy, hash: tombstone.hash), tombstone.timestamp, log,
                        on: call.eventLoop)
                }
                EventLoopFuture.whenAllSucceed(outcomes, on: call.eventLoop).whenSuccess { outcomes in
                    call.reply(.replication(.reclaimed(outcomes.count { $0 })))
                }
            }
        }
    }

    /// Has a device give up what it has of a time; whether it did.
    func evict(
        _ key: ObjectKey, _ timestamp: Timestamp, _ log: DeviceLog, on eventLoop: any EventLoop
    ) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        submit(.evict(key, timestamp: timestamp.rawValue), to: log, on: eventLoop) { outcome in
            if case .stored = outcome { promise.succeed(true) } else { promise.succeed(false) }
        }
        return promise.futureResult
    }
}
