package import Daemon
import DeviceLog
package import Logging
package import NIOCore
package import Ring
package import StorageWire

/// Sends the rows that container replicas missed: those kept in the log, and those of writes that a crash caught between object and row.
///
/// Bound to its event loop.
package final class Updater: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.
    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let places: RestartRepair.Places
    /// Counts the rows that are sent.
    package let control: WorkerControl
    private var task: RepeatedTask?
    private var isSending = false
    private var restart: EventLoopPromise<Void>?

    private struct Item {
        var log: DeviceLog
        var id: UInt64
        var payload: ByteBuffer
    }

    /// Updates of one device in a pass, and updates that are sent at once.
    private static let batch = 256
    private static let width = 16
    private static let pause = TimeAmount.seconds(5)
    private static let restartPatience = TimeAmount.milliseconds(600)

    /// - Parameters:
    ///   - rowTarget: which container replica the object replica on a device tells, by the object's head.
    ///   - replicas: all replicas of an object, by its hash and that of its container.
    package init(
        server: ObjectServer, eventLoop: any EventLoop, logger: Logger,
        rowTarget: @escaping @Sendable (ObjectHead, UInt16) -> RowTarget?,
        replicas: @escaping @Sendable (PathHash, PathHash) -> [ObjectReplica]
    ) {
        self.server = server
        self.eventLoop = eventLoop
        self.logger = logger
        control = WorkerControl(name: "updater", unit: .objects)
        places = RestartRepair.Places(rowTarget: rowTarget, replicas: replicas)
    }

    /// - Returns: done when the writes that the last end cut off are seen to, or have taken `restartPatience`: who reads before may see a write
    ///   appear afterwards.
    @discardableResult
    package func start() -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [self] in
            restart = promise
            RestartRepair(server, eventLoop, places) { [self] in endRestart() }.start()
            eventLoop.scheduleTask(in: Self.restartPatience) { [self] in endRestart() }
            task = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: Self.pause) { [self] _ in
                sendPending()
            }
        }
        return promise.futureResult
    }

    private func endRestart() {
        restart?.succeed()
        restart = nil
    }

    package func stop() {
        eventLoop.execute { [self] in
            endRestart()
            task?.cancel()
            task = nil
        }
    }

    /// What was not taken waits for the next round; when all was, and there may be more, that begins at once.
    private func sendPending() {
        guard !isSending, task != nil else { return }
        var items: [Item] = []
        var hasMore = false
        for (_, log) in server.devices.sorted(by: { $0.key < $1.key }) {
            let pending = (try? log.pendingUpdates(limit: Self.batch)) ?? []
            items += pending.map { Item(log: log, id: $0.id, payload: $0.payload) }
            if pending.count == Self.batch { hasMore = true }
        }
        control.beginPass(total: Int64(items.count))
        isSending = true
        var isEverythingTaken = true
        BoundedTasks.run(items.count, width: Self.width, on: eventLoop, pause: control.timeToNextStep) { [self] index in
            send(items[index]).assumeIsolated().map { if !$0 { isEverythingTaken = false } }.nonisolated()
        }.assumeIsolated().whenSuccess { [self] in
            isSending = false
            control.endPass()
            if hasMore, isEverythingTaken { sendPending() }
        }
    }

    /// The ring may have changed since: the row goes to a replica of today.
    private func retargeted(_ putRow: PutRow) -> PutRow {
        let containers = places.replicas(putRow.table.hash, putRow.table.hash).map(\.container)
        guard !containers.isEmpty, !containers.contains(putRow.table.device) else { return putRow }
        var putRow = putRow
        putRow.table.device = containers[Int(putRow.table.device) % containers.count]
        return putRow
    }

    /// Whether it was taken, or is none.
    private func send(_ item: Item) -> EventLoopFuture<Bool> {
        guard task != nil else { return eventLoop.makeSucceededFuture(false) }
        guard let update = try? PendingUpdate(decoding: item.payload) else {
            logger.error("A pending update can't be read; it is dropped")
            return note(item)
        }
        let putRow = retargeted(update.putRow)
        guard let node = server.nodes.node(ofDevice: putRow.table.device) else {
            return eventLoop.makeSucceededFuture(false)
        }
        return node.ask(.putRow(putRow), within: ObjectServer.rowTimeout, on: eventLoop).flatMap { [self] reply in
            switch reply {
            case .stored, .superseded:
                _ = control.step(1)
                return note(item)
            default: return eventLoop.makeSucceededFuture(false)
            }
        }
    }

    /// That an update waits no more; the next pass would find it again before that is durable. Whether it is.
    private func note(_ item: Item) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        server.submit(.pendingDone(id: item.id), to: item.log, on: eventLoop) { outcome in
            if case .stored = outcome { promise.succeed(true) } else { promise.succeed(false) }
        }
        return promise.futureResult
    }
}

/// Hears of one reply.
final class SentRow: CallReceiver {
    private let onReply: (StorageReply) -> Void

    init(onReply: @escaping (StorageReply) -> Void) { self.onReply = onReply }

    func received(_ reply: StorageReply, tag: Int) { onReply(reply) }
}

/// A write whose failure only means that it is tried again at the next round.
final class IgnoredOutcome: WriteCompletion {
    let sink: any CompletionSink

    init(sink: EventLoopSink) { self.sink = sink }

    func completed(_ outcome: WriteOutcome) {}
}
