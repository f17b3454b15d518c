import DeviceLog
import NIOCore
import Ring
import StorageWire

/// Where the other replicas of an object are, and which container replica each of them tells.
package struct ObjectReplica: Equatable, Sendable {
    package var device: UInt16
    /// The device of the container replica.
    package var container: UInt16

    package init(device: UInt16, container: UInt16) {
        self.device = device
        self.container = container
    }
}

/// Ends the writes that a crash caught between object and row: the row is told, and the replicas that did not get the write get it.
/// Otherwise a listing could show for good what a majority of the replicas does not have, or the other way round.
///
/// Writes are idempotent: whoever has something newer keeps it. Bodies that don't travel in one message are left to the replicator. Bound to
/// its event loop.
final class RestartRepair: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.
    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let places: Places
    private var waiting: [(key: ObjectKey, device: UInt16, log: DeviceLog)]
    private var next = 0
    private var underWay = 0

    struct Places: Sendable {
        /// Which container replica the object replica on this device tells, by the object's head.
        var rowTarget: @Sendable (ObjectHead, UInt16) -> RowTarget?
        /// All replicas of an object, by its hash and that of its container.
        var replicas: @Sendable (PathHash, PathHash) -> [ObjectReplica]
    }

    /// Objects that are asked about at once.
    private static let maximumUnderWay = 64

    private let onEnd: () -> Void

    init(_ server: ObjectServer, _ eventLoop: any EventLoop, _ places: Places, onEnd: @escaping () -> Void) {
        self.onEnd = onEnd
        self.server = server
        self.eventLoop = eventLoop
        self.places = places
        waiting = []
        for (device, log) in server.devices {
            for key in log.takeUnconfirmedAfterRestart() { waiting.append((key, device, log)) }
        }
    }

    func start() {
        goOn()
    }

    private func goOn() {
        // Others have their turn on the loop between two objects.
        while underWay < Self.maximumUnderWay, next < waiting.count {
            let (key, device, log) = waiting[next]
            next += 1
            underWay += 1
            eventLoop.execute { [self] in repair(key, device, log) }
        }
        guard next == waiting.count, underWay == 0 else { return }
        waiting = []
        next = 0
        for log in server.devices.values { log.confirmRestart() }
        onEnd()
    }

    private func repair(_ key: ObjectKey, _ device: UInt16, _ log: DeviceLog) {
        let calls = Calls { [self] in
            underWay -= 1
            goOn()
        }
        calls.begin()
        if let found = newest(key, device, log) {
            announce(found.row, log, calls)
            for replica in places.replicas(key.hash, found.row.table.hash) where replica.device != device {
                compare(replica, key, found, log, calls)
            }
        }
        calls.end()
    }

    // MARK: The row

    private func announce(_ row: PutRow, _ log: DeviceLog, _ calls: Calls) {
        let keep = { [server, eventLoop] in
            log.submit(
                .pending(payload: PendingUpdate(row).encoded()),
                completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
        }
        guard let node = server.nodes.node(ofDevice: row.table.device) else { return keep() }
        send(.putRow(row), to: node, calls) { reply in
            if case .failed = reply { keep() }
        }
    }

    // MARK: The other replicas

    /// Sends the write to a replica that has something older.
    private func compare(
        _ replica: ObjectReplica, _ key: ObjectKey, _ found: Newest, _ log: DeviceLog, _ calls: Calls
    ) {
        guard let node = server.nodes.node(ofDevice: replica.device) else { return }
        let address = ObjectAddress(device: replica.device, policy: key.policy, hash: key.hash)
        send(.readObject(ReadObject(address: address, wanted: .version, isOwn: true)), to: node, calls) {
            [self] reply in
            let known: Timestamp
            switch reply {
            case .object(let object): known = object.timestamp
            case .tombstone(let timestamp): known = timestamp
            case .absent: known = .never
            default: return
            }
            let row = RowTarget(device: replica.container, container: found.row.table.hash)
            guard known < found.timestamp, let write = write(found, key, at: address, row, log) else { return }
            send(write, to: node, calls) { _ in }
        }
    }

    private func write(
        _ found: Newest, _ key: ObjectKey, at address: ObjectAddress, _ row: RowTarget, _ log: DeviceLog
    ) -> StorageRequest? {
        if found.isDeleted {
            return .deleteObject(
                DeleteObject(address: address, timestamp: found.timestamp, row: row, name: found.row.row.name))
        }
        guard case .live(let object) = try? log.object(key, mayBlock: true), object.timestamp == object.dataTimestamp,
            object.timestamp == found.timestamp.rawValue, case .inline(let body) = object.body
        else { return nil }
        return .putObject(
            PutObject(
                address: address, timestamp: found.timestamp, condition: .none, row: row, head: object.metadata,
                body: body))
    }

    private func send(
        _ request: StorageRequest, to node: any StorageNode, _ calls: Calls,
        _ receive: @escaping (StorageReply) -> Void
    ) {
        calls.begin()
        let receiver = SentRow { reply in
            receive(reply)
            calls.end()
        }
        node.call(request, deadline: .now() + ObjectServer.rowTimeout, on: eventLoop, receiver: receiver, tag: 0)
    }

    // MARK: What this device has

    private struct Newest {
        var timestamp: Timestamp
        var isDeleted: Bool
        var row: PutRow
    }

    /// The newest record of an object; nil when it is no business of a listing's.
    private func newest(_ key: ObjectKey, _ device: UInt16, _ log: DeviceLog) -> Newest? {
        if let metadata = try? log.tombstoneMetadata(key) {
            guard metadata.readableBytes > 0, let update = try? PendingUpdate(decoding: metadata) else { return nil }
            return Newest(timestamp: update.putRow.row.timestamp, isDeleted: true, row: update.putRow)
        }
        guard case .live(let object) = try? log.object(key, body: .none, mayBlock: true),
            let head = try? ObjectHead(decoding: object.metadata), let target = places.rowTarget(head, device)
        else { return nil }
        let timestamp = Timestamp(rawValue: object.timestamp)
        let row = PutRow(
            table: TableAddress(device: target.device, kind: .container, hash: target.container),
            row: TableRow(object: head, policy: key.policy, timestamp: timestamp))
        return Newest(timestamp: timestamp, isDeleted: false, row: row)
    }

    /// Calls back once when all that began has ended.
    private final class Calls {
        private var count = 0
        private let onEnd: () -> Void

        init(onEnd: @escaping () -> Void) { self.onEnd = onEnd }

        func begin() { count += 1 }

        func end() {
            count -= 1
            if count == 0 { onEnd() }
        }
    }
}
