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
                for (device, log) in server.devices { sendPending(device, log) }
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
