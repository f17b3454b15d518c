import DeviceLog
import NIOCore
import Ring
import StorageWire

/// The fetches of a node: so many at once and no more, and each object once at a time.
///
/// Unchecked: bound to its event loop.
final class ObjectFetcher: @unchecked Sendable {
    private struct Place: Hashable {
        var device: UInt16
        var key: ObjectKey
    }

    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private var underWay: [Place: EventLoopFuture<ObjectFetch.Outcome>] = [:]
    private let singles: TaskGate
    private let batches: TaskGate
    /// Since the start.
    private(set) var objects: Int64 = 0
    private(set) var bytes: Int64 = 0

    /// Bodies of this many objects are in memory: at most 256 KiB of each, or two pieces of a large one.
    private static let singlesAtOnce = 64
    /// And those of this many batches: of each one answer that is being written, and one that is on its way. They have a gate of their own, since they
    /// wait for fetches of single objects.
    private static let batchesAtOnce = 8
    /// Beyond this a fetch fails at once; whoever asks has a limit below it.
    private static let maximumSinglesWaiting = 65_536
    private static let maximumBatchesWaiting = 1024

    init(_ server: ObjectServer, on eventLoop: any EventLoop) {
        self.server = server
        self.eventLoop = eventLoop
        singles = TaskGate(width: Self.singlesAtOnce, maximumWaiting: Self.maximumSinglesWaiting, on: eventLoop)
        batches = TaskGate(width: Self.batchesAtOnce, maximumWaiting: Self.maximumBatchesWaiting, on: eventLoop)
    }

    /// Brings `version` or something newer of an object to a device of this node; at once when it is there. On the event loop; never fails.
    func fetch(
        _ version: ReplicaVersion, policy: UInt8, to device: UInt16, from source: UInt16
    ) -> EventLoopFuture<ObjectFetch.Outcome> {
        let place = Place(device: device, key: ObjectKey(policy: policy, hash: version.hash))
        if let known = underWay[place] { return known }
        guard let log = server.devices[device] else {
            return failed(.noDevice, "device \(device) is not on this node")
        }
        let fetch = singles.run { [self] in start(version, place, log, source) }
        guard let fetch else { return failed(.busy, "too many fetches wait") }
        let outcome = fetch.flatMapErrorThrowing { _ in .failed(StorageFailure(.closing)) }
        underWay[place] = outcome
        outcome.whenSuccess { [self] outcome in
            underWay[place] = nil
            if case .stored(let bytes) = outcome { count(bytes) }
        }
        return outcome
    }

    /// Brings many objects, all of which are newer there, as one would each; small ones together. On the event loop; one outcome for each, never fails.
    ///
    /// - Parameter versions: at most `ObjectsQuery.maximumHashes`.
    func fetch(
        _ versions: [ReplicaVersion], policy: UInt8, to device: UInt16, from source: UInt16
    ) -> EventLoopFuture<[ObjectFetch.Outcome]> {
        guard !versions.isEmpty else { return eventLoop.makeSucceededFuture([]) }
        guard let log = server.devices[device], let node = server.nodes.node(ofDevice: source) else {
            let failure = StorageFailure(.unreachable, "no node has device \(source), or this one not \(device)")
            return eventLoop.makeSucceededFuture(Array(repeating: .failed(failure), count: versions.count))
        }
        let fetch = batches.run { [self] in
            ObjectBatch(
                versions, policy: policy, to: device, log, from: source, on: node, server: server, fetcher: self,
                eventLoop: eventLoop
            ).start()
        }
        let busy = ObjectFetch.Outcome.failed(StorageFailure(.busy, "too many fetches wait"))
        return fetch ?? eventLoop.makeSucceededFuture(Array(repeating: busy, count: versions.count))
    }

    /// Of an object that was stored.
    func count(_ bytes: Int64) {
        objects += 1
        self.bytes += bytes
    }

    private func start(
        _ version: ReplicaVersion, _ place: Place, _ log: DeviceLog, _ source: UInt16
    ) -> EventLoopFuture<ObjectFetch.Outcome> {
        if let present = try? log.version(of: place.key), let kind = ReplicaVersion.Kind(present.kind) {
            let own = ReplicaVersion(
                hash: version.hash, timestamp: Timestamp(rawValue: present.timestamp), kind: kind)
            if !VersionDifference.isBetter(version, than: own), kind != .quarantined {
                return eventLoop.makeSucceededFuture(.stored(bytes: 0))
            }
        }
        guard let node = server.nodes.node(ofDevice: source) else {
            return failed(.unreachable, "no node has device \(source)")
        }
        return ObjectFetch(place.key, to: log, server: server, on: eventLoop).start(from: source, on: node)
    }

    private func failed(
        _ reason: StorageFailure.Reason, _ detail: String
    ) -> EventLoopFuture<ObjectFetch.Outcome> {
        eventLoop.makeSucceededFuture(.failed(StorageFailure(reason, detail)))
    }
}
