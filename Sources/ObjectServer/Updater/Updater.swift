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
    private var underWay: Set<Key> = []
    private var restart: EventLoopPromise<Void>?

    private struct Key: Hashable {
        var device: UInt16
        var id: UInt64
    }

    /// Updates of one device that are sent at once.
    private static let batch = 256
    private static let pause = TimeAmount.seconds(5)
    /// How long a pass waits when it is ahead of its pace, at most, before it looks again at what is pending.
    private static let longestWait = TimeAmount.seconds(1)
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

    /// What is left when it is ahead of its pace, or held by an operator, waits for the next round.
    private func sendPending() {
        let waiting = server.devices.compactMap { device, log in
            (try? log.pendingUpdates(limit: Self.batch)).map { (device, log, $0) }
        }
        control.beginPass(total: waiting.reduce(0) { $0 + Int64($1.2.count) })
        for (device, log, pending) in waiting {
            guard sendPending(pending, device, log) else { return }
        }
        control.endPass()
    }

    /// The ring may have changed since: the row goes to a replica of today.
    private func retargeted(_ putRow: PutRow) -> PutRow {
        let containers = places.replicas(putRow.table.hash, putRow.table.hash).map(\.container)
        guard !containers.isEmpty, !containers.contains(putRow.table.device) else { return putRow }
        var putRow = putRow
        putRow.table.device = containers[Int(putRow.table.device) % containers.count]
        return putRow
    }

    private func sendPending(
        _ pending: [(id: UInt64, payload: ByteBuffer)], _ device: UInt16, _ log: DeviceLog
    ) -> Bool {
        for (id, payload) in pending {
            let key = Key(device: device, id: id)
            guard !underWay.contains(key) else { continue }
            switch control.step(0) {
            case .proceed: _ = control.step(1)
            case .paused, .stop: return false
            case .wait(let nanoseconds):
                let wait = min(TimeAmount.nanoseconds(Int64(clamping: nanoseconds)), Self.longestWait)
                eventLoop.scheduleTask(in: wait) { [self] in
                    if task != nil { sendPending() }
                }
                return false
            }
            guard let update = try? PendingUpdate(decoding: payload) else {
                logger.error("A pending update can't be read; it is dropped", metadata: ["device": "\(device)"])
                log.submit(.pendingDone(id: id), completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
                continue
            }
            let putRow = retargeted(update.putRow)
            guard let node = server.nodes.node(ofDevice: putRow.table.device) else { continue }
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
                .putRow(putRow), deadline: .now() + ObjectServer.rowTimeout, on: eventLoop, receiver: receiver,
                tag: 0)
        }
        return true
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
