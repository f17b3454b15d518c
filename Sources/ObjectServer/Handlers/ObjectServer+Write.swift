import DeviceLog
import NIOCore
import StorageWire

extension ObjectServer {
    func put(_ put: PutObject, call: ServerCall) {
        guard let log = device(put.address.device, call: call) else { return }
        let write = Write.put(
            ObjectKey(policy: put.address.policy, hash: put.address.hash), timestamp: put.timestamp.rawValue,
            metadata: put.head, body: .inline(put.body), condition: put.condition == .ifAbsent ? .ifAbsent : .none)
        submit(write, to: log, call: call, timestamp: put.timestamp, row: put.row, source: .head(put.head, policy: put.address.policy))
    }

    func delete(_ delete: DeleteObject, call: ServerCall) {
        guard let log = device(delete.address.device, call: call) else { return }
        let write = Write.delete(
            ObjectKey(policy: delete.address.policy, hash: delete.address.hash), timestamp: delete.timestamp.rawValue)
        submit(
            write, to: log, call: call, timestamp: delete.timestamp, row: delete.row,
            source: .removed(name: delete.name, policy: delete.address.policy))
    }

    func update(_ update: UpdateObject, call: ServerCall) {
        guard let log = device(update.address.device, call: call) else { return }
        let write = Write.updateMetadata(
            ObjectKey(policy: update.address.policy, hash: update.address.hash),
            timestamp: update.timestamp.rawValue, baseDataTimestamp: update.base.rawValue, metadata: update.head)
        submit(write, to: log, call: call, timestamp: update.timestamp, row: update.row, source: .head(update.head, policy: update.address.policy))
    }

    func submit(
        _ write: consuming Write, to log: DeviceLog, call: ServerCall, timestamp: Timestamp, row: RowTarget?,
        source: ObjectWrite.RowSource
    ) {
        let completion = ObjectWrite(
            server: self, log: log, call: call, sink: sinks.sink(for: call.eventLoop), timestamp: timestamp, row: row,
            source: source)
        log.submit(write, completion: completion)
    }
}

/// A write of an object: first its record becomes durable, then its row in the container, then the answer goes out.
final class ObjectWrite: WriteCompletion, CallReceiver, @unchecked Sendable {
    // Unchecked: used on the call's event loop only; the commit stream merely carries it there.

    /// Where the row comes from.
    enum RowSource {
        case head(ByteBuffer, policy: UInt8)
        case removed(name: [UInt8], policy: UInt8)
    }

    let sink: any CompletionSink
    private let server: ObjectServer
    private let log: DeviceLog
    private let call: ServerCall
    private let timestamp: Timestamp
    private let target: RowTarget?
    private let source: RowSource
    private var position: LogPosition?
    private var putRow: PutRow?
    private var isKeeping = false
    /// Told of the final reply instead of the call, for an upload that may be committed again.
    var onReply: ((StorageReply) -> Void)?

    init(
        server: ObjectServer, log: DeviceLog, call: ServerCall, sink: EventLoopSink, timestamp: Timestamp,
        row: RowTarget?, source: RowSource
    ) {
        self.server = server
        self.log = log
        self.call = call
        self.timestamp = timestamp
        target = row
        self.source = source
        self.sink = sink
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
        guard let target else {
            confirm()
            return reply(.stored(rowStored: true))
        }
        guard let row = ContainerRow.make(source, timestamp: timestamp) else {
            confirm()
            return reply(.failed(StorageFailure(.malformed, "the head can't be read")))
        }
        let message = PutRow(
            table: TableAddress(device: target.device, kind: .container, hash: target.container), row: row)
        putRow = message
        guard let node = server.nodes.node(ofDevice: target.device) else { return keepForLater() }
        node.call(
            .putRow(message), deadline: .now() + ObjectServer.rowTimeout, on: call.eventLoop, receiver: self, tag: 0)
    }

    /// The container replica is away: the update goes into the log, and the updater sends it when the replica is back.
    private func keepForLater() {
        guard let putRow else { return }
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
    static func make(_ source: ObjectWrite.RowSource, timestamp: Timestamp) -> TableRow? {
        switch source {
        case .removed(let name, let policy):
            return TableRow(removed: name, policy: policy, timestamp: timestamp)
        case .head(let encoded, let policy):
            guard let head = try? ObjectHead(decoding: encoded) else { return nil }
            return TableRow(object: head, policy: policy, timestamp: timestamp)
        }
    }
}
