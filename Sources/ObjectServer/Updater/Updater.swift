import DeviceLog
package import Logging
package import NIOCore
import Ring
package import StorageWire

/// Sends the rows that container replicas missed: those kept in the log, and those of writes that a crash caught between object and row.
///
/// Bound to its event loop.
package final class Updater: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.
    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let logger: Logger
    /// Which container replica the object replica on this device tells, by the object's hash and head.
    private let rowTarget: @Sendable (ObjectHead, UInt16) -> RowTarget?
    private var task: RepeatedTask?
    private var underWay: Set<Key> = []

    private struct Key: Hashable {
        var device: UInt16
        var id: UInt64
    }

    /// Updates of one device that are sent at once.
    private static let batch = 256
    private static let pause = TimeAmount.seconds(5)

    package init(
        server: ObjectServer, eventLoop: any EventLoop, logger: Logger,
        rowTarget: @escaping @Sendable (ObjectHead, UInt16) -> RowTarget?
    ) {
        self.server = server
        self.eventLoop = eventLoop
        self.logger = logger
        self.rowTarget = rowTarget
    }

    package func start() {
        eventLoop.execute { [self] in
            announceAfterRestart()
            task = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: Self.pause) { [self] _ in
                for (device, log) in server.devices { sendPending(device, log) }
            }
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            task?.cancel()
            task = nil
        }
    }

    private func sendPending(_ device: UInt16, _ log: DeviceLog) {
        guard let pending = try? log.pendingUpdates(limit: Self.batch) else { return }
        for (id, payload) in pending {
            let key = Key(device: device, id: id)
            guard !underWay.contains(key) else { continue }
            guard let update = try? PendingUpdate(decoding: payload) else {
                logger.error("A pending update can't be read; it is dropped", metadata: ["device": "\(device)"])
                log.submit(.pendingDone(id: id), completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
                continue
            }
            guard let node = server.nodes.node(ofDevice: update.putRow.table.device) else { continue }
            underWay.insert(key)
            let receiver = SentRow { [self] reply in
                underWay.remove(key)
                switch reply {
                case .stored, .superseded:
                    log.submit(
                        .pendingDone(id: id), completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
                default: break
                }
            }
            node.call(
                .putRow(update.putRow), deadline: .now() + ObjectServer.rowTimeout, on: eventLoop, receiver: receiver,
                tag: 0)
        }
    }

    /// A record may have become durable just before the process died, without its row: rows are idempotent, so they are sent again.
    private func announceAfterRestart() {
        for (device, log) in server.devices {
            for key in log.takeUnconfirmedAfterRestart() { announce(key, device, log) }
        }
    }

    private func announce(_ key: ObjectKey, _ device: UInt16, _ log: DeviceLog) {
        guard let update = row(of: key, device, log) else { return }
        guard let node = server.nodes.node(ofDevice: update.table.device) else {
            return log.submit(
                .pending(payload: PendingUpdate(update).encoded()),
                completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
        }
        let receiver = SentRow { [self] reply in
            if case .failed = reply {
                log.submit(
                    .pending(payload: PendingUpdate(update).encoded()),
                    completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
            }
        }
        node.call(
            .putRow(update), deadline: .now() + ObjectServer.rowTimeout, on: eventLoop, receiver: receiver, tag: 0)
    }

    /// The row that belongs to the newest record of an object.
    private func row(of key: ObjectKey, _ device: UInt16, _ log: DeviceLog) -> PutRow? {
        if let metadata = try? log.tombstoneMetadata(key) {
            // Empty when the tombstone was no business of the listing's.
            guard metadata.readableBytes > 0, let update = try? PendingUpdate(decoding: metadata) else { return nil }
            return update.putRow
        }
        guard case .live(let object) = try? log.object(key, body: .none, mayBlock: true),
            let head = try? ObjectHead(decoding: object.metadata), let target = rowTarget(head, device)
        else { return nil }
        return PutRow(
            table: TableAddress(device: target.device, kind: .container, hash: target.container),
            row: TableRow(object: head, policy: key.policy, timestamp: Timestamp(rawValue: object.timestamp)))
    }
}

/// Hears of one row.
private final class SentRow: CallReceiver {
    private let onReply: (StorageReply) -> Void

    init(onReply: @escaping (StorageReply) -> Void) { self.onReply = onReply }

    func received(_ reply: StorageReply, tag: Int) { onReply(reply) }
}

/// A write whose failure only means that it is tried again at the next round.
private final class IgnoredOutcome: WriteCompletion {
    let sink: any CompletionSink

    init(sink: EventLoopSink) { self.sink = sink }

    func completed(_ outcome: WriteOutcome) {}
}
