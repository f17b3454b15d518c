import DeviceLog
import NIOCore
import StorageWire

extension ContainerServer {
    func putRow(_ put: PutRow, call: ServerCall) {
        guard let log = ownDevice(put.table, call: call) else { return }
        let row = put.row
        let write = Write.row(
            put.table.key,
            Row(
                name: row.name, timestamp: row.timestamp.rawValue, deleted: row.deleted, bucket: row.policy,
                bytes: row.bytes, count: row.count, value: row.value))
        log.submit(write, completion: RowWrite(server: self, table: put.table, call: call))
    }

    /// The device, if the table is its own: a proxy or an object server with an older ring would count what those of today don't have.
    private func ownDevice(_ table: TableAddress, call: ServerCall) -> DeviceLog? {
        guard let log = device(table, call: call) else { return nil }
        guard log.standing(table.kind.space, table.hash) != .foreign else {
            call.reply(.failed(StorageFailure(.busy, "the partition is not this device's")))
            return nil
        }
        return log
    }

    func updateTable(_ update: UpdateTable, call: ServerCall) {
        guard let log = ownDevice(update.table, call: call) else { return }
        let change = TableChange(server: self, table: update.table, call: call)
        let write = Write.tableInfo(update.table.key) { info, stats in
            change.decide { () throws(WireError) in try TableTransition.update(info, rows: stats.total.rows, by: update)
            }
        }
        log.submit(write, completion: change)
    }

    func deleteTable(_ delete: DeleteTable, call: ServerCall) {
        guard let log = ownDevice(delete.table, call: call) else { return }
        let change = TableChange(server: self, table: delete.table, call: call)
        let write = Write.tableInfo(delete.table.key) { info, stats in
            change.decide { () throws(WireError) in
                try TableTransition.delete(
                    info, rows: stats.total.rows, lastChange: Timestamp(rawValue: stats.lastChange),
                    at: delete.timestamp)
            }
        }
        log.submit(write, completion: change)
    }
}

extension ContainerServer {
    func deleteAccount(_ delete: DeleteAccount, call: ServerCall) {
        guard delete.table.kind == .account else {
            return call.reply(.failed(StorageFailure(.malformed, "not an account")))
        }
        guard let log = ownDevice(delete.table, call: call) else { return }
        let change = TableChange(server: self, table: delete.table, call: call)
        let write = Write.tableInfo(delete.table.key) { info, _ in
            change.decide { () throws(WireError) in try TableTransition.delete(account: info, by: delete) }
        }
        log.submit(write, completion: change)
    }
}

/// What becomes of a table's head: pure, so that replicas and tests agree.
enum TableTransition {
    /// The new head, and whether the table was not live before.
    case replaced(TableHead, created: Bool)
    case refused(StorageReply)

    static func update(_ info: ByteBuffer?, rows: Int64, by update: UpdateTable) throws(WireError) -> TableTransition {
        var head: TableHead
        var created = false
        if let info {
            head = try TableHead(decoding: info)
        } else {
            head = TableHead(
                account: update.account, container: update.container, policy: 0, created: .never,
                put: .never)
        }
        if !head.isLive(rows: rows) {
            guard update.creates else { return .refused(.absent) }
            guard !head.isRefused(rows: rows, at: update.timestamp) else { return .refused(.tombstone(head.deleted)) }
            guard head.deleted < update.timestamp else { return .refused(.superseded(head.deleted)) }
            created = true
            head.created = update.timestamp
            head.policy = update.policy == UpdateTable.anyPolicy ? 0 : update.policy
            head.metadata = []
        } else if update.creates, update.policy != head.policy, update.policy != UpdateTable.anyPolicy {
            return .refused(.policyConflict(head.policy))
        }
        if update.creates { head.put = max(head.put, update.timestamp) }
        for item in update.metadata {
            if let old = head.metadata.first(where: { $0.name == item.name }), old.timestamp > update.timestamp {
                return .refused(.superseded(old.timestamp))
            }
            head.merge(TableHead.Item(name: item.name, value: item.value, timestamp: update.timestamp))
        }
        guard head.metadata.count <= TableHead.maximumItems else {
            return .refused(.failed(StorageFailure(.full, "too many metadata items")))
        }
        return .replaced(head, created: created)
    }

    static func delete(
        _ info: ByteBuffer?, rows: Int64, lastChange: Timestamp = .never, at timestamp: Timestamp
    ) throws(WireError) -> TableTransition {
        guard let info else { return .refused(.absent) }
        var head = try TableHead(decoding: info)
        guard head.isLive(rows: rows) else {
            // The same delete once more: its answer may have been lost.
            return head.deleted == timestamp ? .replaced(head, created: false) : .refused(.absent)
        }
        guard rows == 0 else { return .refused(.notEmpty) }
        // Newer than everything that happened to the container, so that its account can tell.
        let newest = max(head.put, lastChange)
        guard newest < timestamp else { return .refused(.superseded(newest)) }
        head.deleted = timestamp
        head.metadata = []
        return .replaced(head, created: false)
    }
}

extension TableTransition {
    /// The deletion of an account, whose rows don't matter. The same delete once more changes nothing.
    static func delete(account info: ByteBuffer?, by delete: DeleteAccount) throws(WireError) -> TableTransition {
        var head: TableHead
        if let info {
            head = try TableHead(decoding: info)
        } else {
            head = TableHead(account: delete.account, container: [], policy: 0, created: .never, put: .never)
        }
        guard head.put < delete.timestamp else { return .refused(.superseded(head.put)) }
        head.deleted = max(head.deleted, delete.timestamp)
        head.metadata = []
        return .replaced(head, created: false)
    }
}

/// A row on its way to be durable.
private final class RowWrite: WriteCompletion, @unchecked Sendable {
    let sink: any CompletionSink
    private let server: ContainerServer
    private let table: TableAddress
    private let call: ServerCall

    init(server: ContainerServer, table: TableAddress, call: ServerCall) {
        self.server = server
        self.table = table
        self.call = call
        sink = server.sinks.sink(for: call.eventLoop)
    }

    func completed(_ outcome: WriteOutcome) {
        switch outcome {
        case .stored:
            if table.kind == .container { server.changes.insert(table) }
            call.reply(.stored(rowStored: true))
        case .superseded(let newest): call.reply(.superseded(Timestamp(rawValue: newest)))
        case .failed(let error): call.reply(.failed(ContainerServer.failure(error)))
        case .missing, .baseMismatch, .conditionFailed, .refused:
            call.reply(.failed(StorageFailure(.malformed, "\(outcome)")))
        }
    }
}

/// A change of a table's head. The decision falls on the commit stream and is read on the event loop after it: never at the same time.
private final class TableChange: WriteCompletion, @unchecked Sendable {
    let sink: any CompletionSink
    private let server: ContainerServer
    private let table: TableAddress
    private let call: ServerCall
    private var created = false
    private var refusal: StorageReply?

    init(server: ContainerServer, table: TableAddress, call: ServerCall) {
        self.server = server
        self.table = table
        self.call = call
        sink = server.sinks.sink(for: call.eventLoop)
    }

    func decide(_ transition: () throws(WireError) -> TableTransition) -> TableDecision {
        do {
            switch try transition() {
            case .replaced(let head, let created):
                self.created = created
                return .replace(head.encoded())
            case .refused(let reply): refusal = reply
            }
        } catch {
            refusal = .failed(StorageFailure(.corrupt, "the head of the table can't be read: \(error)"))
        }
        return .refuse(code: 0)
    }

    func completed(_ outcome: WriteOutcome) {
        switch outcome {
        case .stored:
            if table.kind == .container { server.changes.insert(table) }
            call.reply(.tableStored(created: created))
        case .refused: call.reply(refusal ?? .failed(StorageFailure(.io, "refused without a reason")))
        case .failed(let error): call.reply(.failed(ContainerServer.failure(error)))
        case .superseded(let newest): call.reply(.superseded(Timestamp(rawValue: newest)))
        case .missing, .baseMismatch, .conditionFailed:
            call.reply(.failed(StorageFailure(.malformed, "\(outcome)")))
        }
    }
}
