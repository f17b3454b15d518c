import DeviceLog
import NIOCore
import Ring
import StorageWire

/// Brings many objects from another device to one of this node: small ones with each other in one answer, large ones by themselves.
///
/// Unchecked: bound to its event loop.
final class ObjectBatch: @unchecked Sendable {
    private let versions: [ReplicaVersion]
    private let policy: UInt8
    private let device: UInt16
    private let source: UInt16
    private let log: DeviceLog
    private let node: any StorageNode
    private let server: ObjectServer
    private let fetcher: ObjectFetcher
    private let eventLoop: any EventLoop
    private let promise: EventLoopPromise<[ObjectFetch.Outcome]>
    /// By the place in `versions`.
    private var outcomes: [ObjectFetch.Outcome]
    private var left: Int
    /// How many of them were asked for and answered.
    private var answered = 0

    private static let timeout = TimeAmount.seconds(15)

    /// - Parameter versions: at most `ObjectsQuery.maximumHashes`, and not none.
    init(
        _ versions: [ReplicaVersion], policy: UInt8, to device: UInt16, _ log: DeviceLog, from source: UInt16,
        on node: any StorageNode, server: ObjectServer, fetcher: ObjectFetcher, eventLoop: any EventLoop
    ) {
        self.versions = versions
        self.policy = policy
        self.device = device
        self.log = log
        self.source = source
        self.node = node
        self.server = server
        self.fetcher = fetcher
        self.eventLoop = eventLoop
        promise = eventLoop.makePromise()
        outcomes = Array(repeating: .nothing, count: versions.count)
        left = versions.count
    }

    /// On the event loop. One outcome for each version; never fails.
    func start() -> EventLoopFuture<[ObjectFetch.Outcome]> {
        askNext()
        return promise.futureResult
    }

    private func askNext() {
        let first = answered
        let query = ObjectsQuery(device: source, policy: policy, hashes: versions[first...].map(\.hash))
        node.ask(.replication(.objects(query)), within: Self.timeout, on: eventLoop).assumeIsolated().whenSuccess {
            [self] reply in
            guard case .replication(.objects(let objects)) = reply, !objects.isEmpty,
                objects.count <= versions.count - first
            else { return fetchRest() }
            answered += objects.count
            // The next answer is on its way while this one is written.
            if answered < versions.count { askNext() }
            for (index, object) in objects.enumerated() { store(object, at: first + index) }
        }
    }

    /// What cannot be had with the others may be had by itself.
    private func fetchRest() {
        let rest = answered..<versions.count
        answered = versions.count
        for index in rest { fetchAlone(index) }
    }

    private func fetchAlone(_ index: Int) {
        fetcher.fetch(versions[index], policy: policy, to: device, from: source).assumeIsolated().whenSuccess {
            [self] in end(index, $0, isCounted: true)
        }
    }

    private func store(_ object: ReplicaObject, at index: Int) {
        let key = ObjectKey(policy: policy, hash: versions[index].hash)
        switch object {
        case .absent: end(index, .nothing)
        case .failed(let reason): end(index, .failed(StorageFailure(reason)))
        case .tombstone(let timestamp):
            submit(.delete(key, timestamp: timestamp.rawValue), index, bytes: 0, isDelete: true)
        case .object(let object):
            guard let body = object.body else { return fetchAlone(index) }
            guard Int64(body.readableBytes) == object.bodyLength else {
                return end(index, .failed(StorageFailure(.malformed, "a body of another length than was said")))
            }
            ExpiryIndex.note(object.head, of: key, timestamp: object.timestamp.rawValue, in: log, server, on: eventLoop)
            let write = Write.restore(
                key, timestamp: object.timestamp.rawValue, dataTimestamp: object.dataTimestamp.rawValue,
                metadata: object.head, body: .inline(body))
            submit(write, index, bytes: object.bodyLength, isDelete: false)
        }
    }

    private func submit(_ write: Write, _ index: Int, bytes: Int64, isDelete: Bool) {
        server.submit(write, to: log, on: eventLoop) { [self] outcome in
            // Rows have their own replicator.
            if isDelete, case .stored(let position) = outcome { log.confirm(position) }
            end(index, ObjectFetch.Outcome(outcome, bytes: bytes))
        }
    }

    /// - Parameter isCounted: whether the fetcher has it in its figures.
    private func end(_ index: Int, _ outcome: ObjectFetch.Outcome, isCounted: Bool = false) {
        outcomes[index] = outcome
        if !isCounted, case .stored(let bytes) = outcome { fetcher.count(bytes) }
        left -= 1
        if left == 0 { promise.succeed(outcomes) }
    }
}
