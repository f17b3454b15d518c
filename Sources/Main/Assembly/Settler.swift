import ClusterMap
import Logging
import NIOCore
import NIOPosix
import StorageWire
import Synchronization

/// Notices when the data has followed the rings, and has the map say so: then what rested may move, until nothing is left to.
///
/// One node does it, the first of the map that is active and answers; the others see that it does and wait. It asks all nodes for the state of
/// their devices every few seconds while the map waits for data, a few at a time, and stops at the first that is not settled.
final class Settler: Sendable {
    private struct State {
        var isBusy = false
        /// No check before it.
        var due = NIODeadline.now()
        var pause = Settler.interval
    }

    private let map: MapService
    private let handler: NodeHandler
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    private static let interval = TimeAmount.seconds(1)
    /// Between two checks while a node does not answer.
    private static let longestPause = TimeAmount.seconds(10)
    /// For each node of a large cluster, so that asking them all costs little.
    private static let pausePerNode = TimeAmount.milliseconds(20)
    /// Nodes that are asked at once.
    private static let width = 8

    init(_ map: MapService, handler: NodeHandler) {
        self.map = map
        self.handler = handler
        eventLoop = map.group.next()
    }

    func start() {
        eventLoop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { [weak self] _ in
            self?.check()
        }
    }

    private func check() {
        guard let map = map.map, map.previous != nil, let own = map.node(self.map.nodeID),
            state.withLock({ state in
                guard !state.isBusy, state.due <= .now() else { return false }
                state.isBusy = true
                return true
            })
        else { return }
        let order = map.nodes.filter { $0.state == .active } + map.nodes.filter { $0.state != .active }
        passTurn(order.prefix { $0.id != own.id }, map)
    }

    /// Leaves the work to the first of these nodes that answers, and does it when none does.
    private func passTurn(_ before: ArraySlice<MapNode>, _ map: ClusterMap) {
        guard let first = before.first else { return askAll(map) }
        guard let peer = self.map.peers[first.id] else { return passTurn(before.dropFirst(), map) }
        self.map.ask(peer.remote, .readMap(newerThan: .max), on: eventLoop) { [self] reply in
            if case .mapStanding = reply { end(isComplete: true, map) } else { passTurn(before.dropFirst(), map) }
        }
    }

    private func askAll(_ map: ClusterMap) {
        let statuses = NIOLoopBoundBox([String: NodeStatus](), eventLoop: eventLoop)
        let isOver = NIOLoopBoundBox(false, eventLoop: eventLoop)
        let isComplete = NIOLoopBoundBox(true, eventLoop: eventLoop)
        BoundedTasks.run(map.nodes.count, width: Self.width, on: eventLoop) { [self] index in
            let node = map.nodes[index]
            guard !isOver.value else { return eventLoop.makeSucceededVoidFuture() }
            return status(of: node).map { status in
                statuses.value[node.id] = status
                if status == nil { isComplete.value = false }
                if !Settling.obstacles(node, status, in: map).isEmpty { isOver.value = true }
            }
        }.assumeIsolated().whenComplete { [self] _ in
            guard !isOver.value, Settling(map, statuses: statuses.value).isSettled else {
                return end(isComplete: isComplete.value, map)
            }
            settle(map)
        }
    }

    private func status(of node: MapNode) -> EventLoopFuture<NodeStatus?> {
        let promise = eventLoop.makePromise(of: NodeStatus?.self)
        if node.id == map.nodeID {
            promise.succeed(handler.status())
        } else if let peer = map.peers[node.id] {
            map.ask(peer.remote, .status, on: eventLoop) { reply in
                if case .status(let status) = reply { promise.succeed(status) } else { promise.succeed(nil) }
            }
        } else {
            promise.succeed(nil)
        }
        return promise.futureResult
    }

    private func settle(_ map: ClusterMap) {
        self.map.propose(.settle(version: map.version)) { [self] result in
            switch result {
            case .success(let result):
                self.map.logger.notice(
                    "The data has followed the rings; partitions that rested may move again",
                    metadata: [
                        "version": "\(result.version)", "moved": "\(result.moved.reduce(0, +))",
                        "still_on_draining": "\(result.unmoved.reduce(0, +))",
                    ])
            case .failure(let error):
                // Another change came first, or no majority answers: the next check sees what is.
                self.map.logger.info(
                    "The data has settled; the map can't be changed now", metadata: ["reason": "\(error)"])
            }
            end(isComplete: true, map)
        }
    }

    private func end(isComplete: Bool, _ map: ClusterMap) {
        state.withLock { state in
            let least = max(Self.interval, Self.pausePerNode * map.nodes.count)
            state.pause = isComplete ? least : min(max(least, state.pause * 2), Self.longestPause)
            state.due = .now() + state.pause
            state.isBusy = false
        }
    }
}
