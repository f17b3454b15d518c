import DeviceLog
import NIOCore
import StorageWire
import Synchronization

extension ObjectServer {
    func put(_ put: PutObject, call: ServerCall) {
        guard let log = device(put.address, row: put.row, call: call) else { return }
        let key = ObjectKey(policy: put.address.policy, hash: put.address.hash)
        ExpiryIndex.note(put.head, of: key, timestamp: put.timestamp.rawValue, in: log, self, on: call.eventLoop)
        let write = Write.put(
            key, timestamp: put.timestamp.rawValue,
            metadata: put.head, body: .inline(put.body), condition: put.condition == .ifAbsent ? .ifAbsent : .none)
        submit(
            write, to: log, call: call, timestamp: put.timestamp, row: put.row,
            source: .head(put.head, policy: put.address.policy))
    }

    func delete(_ delete: DeleteObject, call: ServerCall) {
        guard let log = device(delete.address, row: delete.row, call: call) else { return }
        // The row goes into the tombstone: after a crash between the two nothing else would know the name.
        let metadata = delete.row.map { target in
            PendingUpdate(
                PutRow(
                    table: TableAddress(device: target.device, kind: .container, hash: target.container),
                    row: TableRow(
                        removed: delete.name, policy: delete.address.policy, timestamp: delete.timestamp))
            ).encoded()
        }
        let write = Write.delete(
            ObjectKey(policy: delete.address.policy, hash: delete.address.hash), timestamp: delete.timestamp.rawValue,
            metadata: metadata ?? ByteBuffer())
        submit(
            write, to: log, call: call, timestamp: delete.timestamp, row: delete.row,
            source: .removed(name: delete.name, policy: delete.address.policy))
    }

    func update(_ update: UpdateObject, call: ServerCall) {
        guard let log = device(update.address, row: update.row, call: call) else { return }
        let key = ObjectKey(policy: update.address.policy, hash: update.address.hash)
        ExpiryIndex.note(update.head, of: key, timestamp: update.timestamp.rawValue, in: log, self, on: call.eventLoop)
        let write = Write.updateMetadata(
            key, timestamp: update.timestamp.rawValue, baseDataTimestamp: update.base.rawValue, metadata: update.head)
        submit(
            write, to: log, call: call, timestamp: update.timestamp, row: update.row,
            source: .head(update.head, policy: update.address.policy))
    }

    /// The device of a write. Who names a row counts on the device as a primary: it must be one, or a proxy with an older ring would acknowledge what those
    /// of today don't have. Handoffs get no row.
    func device(_ address: ObjectAddress, row: RowTarget?, call: ServerCall) -> DeviceLog? {
        guard let log = device(address.device, call: call) else { return nil }
        guard row == nil || log.standing(.objects(address.policy), address.hash) != .foreign else {
            call.reply(.failed(StorageFailure(.busy, "the partition is not this device's")))
            return nil
        }
        return log
    }

    /// - Parameter source: is read first, so that a message whose head makes no sense changes nothing.
    private func submit(
        _ write: consuming Write, to log: DeviceLog, call: ServerCall, timestamp: Timestamp, row: RowTarget?,
        source: ContainerRow.Source
    ) {
        clientRequests.add(1, ordering: .relaxed)
        guard let row = ContainerRow.make(source, for: row, timestamp: timestamp) else {
            return call.reply(.failed(StorageFailure(.malformed, "the head can't be read")))
        }
        log.submit(
            write, completion: ObjectWrite(server: self, log: log, call: call, timestamp: timestamp, row: row))
    }
}

/// A write of an object: first its record becomes durable, then its row in the container, then the answer goes out.
final class ObjectWrite: WriteCompletion, CallReceiver, @unchecked Sendable {
    // Unchecked: used on the call's event loop only; the commit stream merely carries it there.

    let sink: any CompletionSink
    private let server: ObjectServer
    private let log: DeviceLog
    private let call: ServerCall
    private let timestamp: Timestamp
    private let row: ContainerRow
    private var position: LogPosition?
    private var isKeeping = false
    /// Told of the final reply instead of the call, for an upload that may be committed again.
    var onReply: ((StorageReply) -> Void)?

    init(
        server: ObjectServer, log: DeviceLog, call: ServerCall, timestamp: Timestamp, row: ContainerRow
    ) {
        self.server = server
        self.log = log
        self.call = call
        self.timestamp = timestamp
        self.row = row
        sink = server.sinks.sink(for: call.eventLoop)
    }

    func completed(_ outcome: WriteOutcome) {
        if isKeeping { return kept(outcome) }
        switch outcome {
        case .stored(let position):
            self.position = position
            updateRow()
        case .superseded(let newest): reply(.superseded(Timestamp(rawValue: newest)))
        case .missing: reply(.absent)
        case .baseMismatch(let newest): reply(.baseMismatch(Timestamp(rawValue: newest)))
        case .conditionFailed(let newest): reply(.conditionFailed(Timestamp(rawValue: newest)))
        case .refused: reply(.failed(StorageFailure(.malformed, "refused")))
        case .failed(let error): reply(.failed(StorageFailure(error)))
        }
    }

    func received(_ reply: StorageReply, tag: Int) {
        switch reply {
        case .stored, .superseded:
            // Superseded: a newer write of this object is in the listing already.
            confirm()
            self.reply(.stored(rowStored: true))
        default: keepForLater()
        }
    }

    private func updateRow() {
        guard case .wanted(let putRow) = row else {
            confirm()
            return reply(.stored(rowStored: true))
        }
        guard let node = server.nodes.node(ofDevice: putRow.table.device) else { return keepForLater() }
        node.call(
            .putRow(putRow), deadline: .now() + ObjectServer.rowTimeout, on: call.eventLoop, receiver: self, tag: 0)
    }

    /// The container replica is away: the update goes into the log, and the updater sends it when the replica is back.
    private func keepForLater() {
        guard case .wanted(let putRow) = row else { return }
        isKeeping = true
        log.submit(.pending(payload: PendingUpdate(putRow).encoded()), completion: self)
    }

    private func kept(_ outcome: WriteOutcome) {
        switch outcome {
        case .stored:
            confirm()
            reply(.stored(rowStored: false))
        case .failed(let error): reply(.failed(StorageFailure(error)))
        default: reply(.failed(StorageFailure(.io, "the update could not be kept")))
        }
    }

    private func confirm() {
        if let position { log.confirm(position) }
    }

    private func reply(_ reply: StorageReply) {
        if let onReply { onReply(reply) } else { call.reply(reply) }
    }
}

/// The line of a listing that belongs to an object's record.
enum ContainerRow {
    /// The listing is left alone.
    case unwanted
    case wanted(PutRow)

    /// What the line is made from.
    enum Source {
        case head(ByteBuffer, policy: UInt8)
        case removed(name: [UInt8], policy: UInt8)
    }

    /// `nil` when the head can't be read.
    static func make(_ source: Source, for target: RowTarget?, timestamp: Timestamp) -> ContainerRow? {
        guard let row = row(source, timestamp: timestamp) else { return nil }
        guard let target else { return .unwanted }
        return .wanted(
            PutRow(
                table: TableAddress(device: target.device, kind: .container, hash: target.container), row: row))
    }

    static func row(_ source: Source, timestamp: Timestamp) -> TableRow? {
        switch source {
        case .removed(let name, let policy):
            return TableRow(removed: name, policy: policy, timestamp: timestamp)
        case .head(let encoded, let policy):
            guard let head = try? ObjectHead(decoding: encoded) else { return nil }
            return TableRow(object: head, policy: policy, timestamp: timestamp)
        }
    }
}
