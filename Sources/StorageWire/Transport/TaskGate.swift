package import NIOCore

/// Lets so many tasks run at once on one event loop; others wait for their turn, in the order in which they came.
///
/// Unchecked: everything happens on `eventLoop`.
package final class TaskGate: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let width: Int
    private let maximumWaiting: Int
    private var underWay = 0
    private var waiting = CircularBuffer<() -> Void>()

    /// - Parameters:
    ///   - width: tasks at once.
    ///   - maximumWaiting: beyond them no task is taken.
    package init(width: Int, maximumWaiting: Int, on eventLoop: any EventLoop) {
        self.width = width
        self.maximumWaiting = maximumWaiting
        self.eventLoop = eventLoop
    }

    /// On the event loop. Nil when too many wait already: then `body` is not called.
    package func run<Value: Sendable>(
        _ body: @escaping () -> EventLoopFuture<Value>
    ) -> EventLoopFuture<Value>? {
        guard underWay >= width else { return begin(body) }
        guard waiting.count < maximumWaiting else { return nil }
        let promise = eventLoop.makePromise(of: Value.self)
        waiting.append { [self] in begin(body).cascade(to: promise) }
        return promise.futureResult
    }

    private func begin<Value: Sendable>(_ body: () -> EventLoopFuture<Value>) -> EventLoopFuture<Value> {
        underWay += 1
        let task = body()
        task.whenComplete { [self] _ in
            // Others have their turn on the loop between two.
            eventLoop.execute { [self] in
                underWay -= 1
                waiting.popFirst()?()
            }
        }
        return task
    }
}
