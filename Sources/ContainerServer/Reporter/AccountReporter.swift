import DeviceLog
package import Logging
package import NIOCore
package import StorageWire

/// Tells accounts how many objects and bytes their containers hold, a moment after they changed.
///
/// Bound to its event loop.
package final class AccountReporter: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.
    private let server: ContainerServer
    private let nodes: any NodeDirectory
    private let eventLoop: any EventLoop
    private let logger: Logger
    /// The account replica that the container replica on this device reports to.
    private let accountTarget: @Sendable (TableHead, TableAddress) -> TableAddress?
    private var task: RepeatedTask?
    private var underWay = 0

    private static let interval = TimeAmount.milliseconds(500)
    private static let timeout = TimeAmount.seconds(5)
    /// Reports that may be unanswered at once.
    private static let maximumUnderWay = 1_024

    package init(
        server: ContainerServer, nodes: any NodeDirectory, eventLoop: any EventLoop, logger: Logger,
        accountTarget: @escaping @Sendable (TableHead, TableAddress) -> TableAddress?
    ) {
        self.server = server
        self.nodes = nodes
        self.eventLoop = eventLoop
        self.logger = logger
        self.accountTarget = accountTarget
    }

    package func start() {
        eventLoop.execute { [self] in
            task = eventLoop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { [self] _ in
                report()
            }
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            task?.cancel()
            task = nil
        }
    }

    private func report() {
        for table in server.changes.take(limit: Self.maximumUnderWay - underWay) { report(table) }
    }

    private func report(_ table: TableAddress) {
        guard let log = server.devices[table.device], let state = try? ContainerServer.state(of: table, in: log),
            let info = state.head, let head = try? TableHead(decoding: info), let target = accountTarget(head, table),
            let node = nodes.node(ofDevice: target.device)
        else { return }
        let rows = state.sums.reduce(0) { $0 + $1.rows }
        let isLive = head.isLive(rows: rows)
        // A container that an object kept alive through its deletion is listed again, above the tombstone of that.
        let deleted = isLive && head.deleted > .never ? Timestamp(rawValue: head.deleted.rawValue + 1) : head.deleted
        let row = TableRow(
            name: head.container, timestamp: max(head.put, deleted, state.lastChange), deleted: !isLive,
            policy: head.policy, bytes: state.sums.reduce(0) { $0 + $1.bytes },
            count: rows, value: ContainerRowValue(put: head.put).encoded())
        underWay += 1
        let receiver = Report { [self] reply in
            underWay -= 1
            if case .failed = reply { server.changes.insert(table) }
        }
        node.call(
            .putRow(PutRow(table: target, row: row)), deadline: .now() + Self.timeout, on: eventLoop,
            receiver: receiver, tag: 0)
    }
}

/// Hears of one report.
private final class Report: CallReceiver {
    private let onReply: (StorageReply) -> Void

    init(onReply: @escaping (StorageReply) -> Void) { self.onReply = onReply }

    func received(_ reply: StorageReply, tag: Int) { onReply(reply) }
}
