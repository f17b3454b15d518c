package import Daemon
import DeviceLog
package import Logging
package import NIOCore
import NIOPosix
package import Ring
package import StorageWire

/// Removes objects whose time has come (`X-Delete-At`) from all their replicas and from the listing.
///
/// Every node looks after the objects on its devices. The first primary begins, the others only if the objects are still there some time later: it is away
/// then. The tombstone is just above the version that ceases, so that whatever was written since stays.
package final class Expirer: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.

    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let interval: TimeAmount
    private let now: @Sendable () -> Int64
    private let places: Places
    /// Counts the objects that were removed.
    package let control = WorkerControl(name: "expirer", unit: .objects)
    private let passes: PassSchedule

    private struct Places {
        var rings: @Sendable () -> [UInt8: Ring]
        var rowTarget: @Sendable (ObjectHead, UInt16) -> RowTarget?
        var replicas: @Sendable (PathHash, PathHash) -> [ObjectReplica]
    }

    /// An object that ceases to be.
    private struct Expired {
        var entry: ExpiryIndex.Entry
        var head: ObjectHead
        var timestamp: Timestamp
    }

    /// What a device has of some entries.
    private struct Findings {
        var expired: [Expired] = []
        /// Of objects that are gone, or cease at another time.
        var obsolete: [ExpiryIndex.Entry] = []
        var last: ExpiryIndex.Entry?
        var isWhole = true
    }

    private static let batch = 256
    private static let width = 4
    /// Each further primary begins so many intervals later.
    private static let patience: Int64 = 10
    private static let timeout = TimeAmount.seconds(10)

    /// - Parameters:
    ///   - interval: from the end of a pass to the next one; an object is also left alone so long after its time, because clocks differ.
    ///   - now: seconds since 1970.
    ///   - rings: the object rings of today by their policies.
    ///   - rowTarget: which container replica the object replica on a device tells, by the object's head.
    ///   - replicas: all replicas of an object, by its hash and that of its container.
    package init(
        server: ObjectServer, eventLoop: any EventLoop, logger: Logger, interval: TimeAmount = .seconds(30),
        now: @escaping @Sendable () -> Int64, rings: @escaping @Sendable () -> [UInt8: Ring],
        rowTarget: @escaping @Sendable (ObjectHead, UInt16) -> RowTarget?,
        replicas: @escaping @Sendable (PathHash, PathHash) -> [ObjectReplica]
    ) {
        self.server = server
        self.eventLoop = eventLoop
        self.logger = logger
        self.interval = interval
        passes = PassSchedule(on: eventLoop, interval: interval)
        self.now = now
        places = Places(rings: rings, rowTarget: rowTarget, replicas: replicas)
    }

    package func start() {
        eventLoop.execute { [self] in passes.start(after: interval) { [self] in pass() } }
    }

    package func stop() {
        eventLoop.execute { [self] in
            control.stop()
            passes.stop()
        }
    }

    /// Has a pass made now, or once more after the one under way; done at its end.
    package func runPass() -> EventLoopFuture<Void> { passes.run() }

    // MARK: Passes

    private func pass() -> EventLoopFuture<Void> {
        control.beginPass(total: nil)
        let devices = server.devices.sorted { $0.key < $1.key }
        return BoundedTasks.run(devices.count, width: 1, on: eventLoop) { [self] index in
            expire(on: devices[index].key, devices[index].value, after: nil)
        }.map { [control] in control.endPass() }
    }

    private func expire(on device: UInt16, _ log: DeviceLog, after last: ExpiryIndex.Entry?) -> EventLoopFuture<Void> {
        guard !passes.isStopped else { return eventLoop.makeSucceededVoidFuture() }
        let seconds = now() - interval.nanoseconds / 1_000_000_000
        let rings = places.rings()
        let step = max(1, Self.patience * interval.nanoseconds / 1_000_000_000)
        return server.workers.runIfActive(eventLoop: eventLoop) {
            try Self.look(into: log, of: device, rings: rings, seconds: seconds, step: step, after: last)
        }.flatMap { [self] found in
            for entry in found.obsolete { ExpiryIndex.forget(entry, in: log, server, on: eventLoop) }
            return BoundedTasks.run(
                found.expired.count, width: Self.width, on: eventLoop, pause: control.timeToNextStep
            ) { [self] index in remove(found.expired[index], on: device, log) }.flatMap { [self] in
                found.isWhole ? eventLoop.makeSucceededVoidFuture() : expire(on: device, log, after: found.last)
            }
        }.flatMapErrorThrowing { [control] error in
            control.note(error: "what ceases on device \(device) can't be read: \(error)")
        }
    }

    /// Blocks.
    private static func look(
        into log: DeviceLog, of device: UInt16, rings: [UInt8: Ring], seconds: Int64, step: Int64,
        after last: ExpiryIndex.Entry?
    ) throws -> Findings {
        let entries = try ExpiryIndex.due(in: log, until: seconds, after: last, limit: batch)
        var found = Findings()
        found.last = entries.last
        found.isWhole = entries.count < batch
        for entry in entries {
            let version = try log.version(of: entry.key)
            guard version.kind != .quarantined else { continue }
            guard version.kind == .live else {
                found.obsolete.append(entry)
                continue
            }
            // Without a place it is somebody else's: the replicator takes it there.
            guard let place = rings[entry.key.policy]?.primaries(of: entry.key.hash).firstIndex(of: Int(device)),
                entry.seconds + Int64(place) * step <= seconds,
                case .live(let object) = try log.object(entry.key, body: .none, mayBlock: true)
            else { continue }
            let head = try ObjectHead(decoding: object.metadata)
            if head.deleteAt == entry.seconds {
                found.expired.append(
                    Expired(entry: entry, head: head, timestamp: Timestamp(rawValue: object.timestamp)))
            } else {
                found.obsolete.append(entry)
            }
        }
        return found
    }

    // MARK: One object

    private func remove(_ expired: Expired, on device: UInt16, _ log: DeviceLog) -> EventLoopFuture<Void> {
        let key = expired.entry.key
        guard let container = places.rowTarget(expired.head, device)?.container else {
            return eventLoop.makeSucceededVoidFuture()
        }
        let timestamp = Timestamp(rawValue: expired.timestamp.rawValue + 1)
        let replicas = places.replicas(key.hash, container)
        let replies = replicas.map { replica in
            let message = DeleteObject(
                address: ObjectAddress(device: replica.device, policy: key.policy, hash: key.hash),
                timestamp: timestamp, row: RowTarget(device: replica.container, container: container),
                name: expired.head.object)
            guard let node = server.nodes.node(ofDevice: replica.device) else {
                return eventLoop.makeSucceededFuture(StorageReply.failed(StorageFailure(.unreachable)))
            }
            return node.ask(.deleteObject(message), within: Self.timeout, on: eventLoop)
        }
        return EventLoopFuture.whenAllSucceed(replies, on: eventLoop).map { [self] replies in
            for (replica, reply) in zip(replicas, replies) where replica.device == device {
                switch reply {
                case .stored, .superseded:
                    _ = control.step(1)
                    // A replica that is away has an entry of its own.
                    ExpiryIndex.forget(expired.entry, in: log, server, on: eventLoop)
                case .failed(let failure): control.note(error: "\(key.hash.hex) on device \(device): \(failure.reason)")
                default: control.note(error: "\(key.hash.hex) on device \(device): unexpected reply")
                }
            }
        }
    }
}
