package import NIOCore

/// Runs a number of tasks on one event loop, some of them at once.
///
/// Unchecked: everything happens on `eventLoop`.
package final class BoundedTasks: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let count: Int
    private let width: Int
    private let body: (Int) -> EventLoopFuture<Void>
    private let promise: EventLoopPromise<Void>
    private var next = 0
    private var underWay = 0

    private init(
        _ count: Int, _ width: Int, _ eventLoop: any EventLoop, _ body: @escaping (Int) -> EventLoopFuture<Void>
    ) {
        self.eventLoop = eventLoop
        self.count = count
        self.width = width
        self.body = body
        promise = eventLoop.makePromise()
    }

    /// Ends when all have ended, however; others have their turn on the loop between two.
    ///
    /// - Parameters:
    ///   - width: tasks at once.
    ///   - body: begins one, on the event loop.
    package static func run(
        _ count: Int, width: Int, on eventLoop: any EventLoop, _ body: @escaping (Int) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<Void> {
        let tasks = BoundedTasks(count, width, eventLoop, body)
        tasks.goOn()
        return tasks.promise.futureResult
    }

    private func goOn() {
        guard next < count else {
            if underWay == 0 { promise.succeed() }
            return
        }
        while underWay < width, next < count {
            let index = next
            next += 1
            underWay += 1
            body(index).whenComplete { [self] _ in
                eventLoop.execute { [self] in
                    underWay -= 1
                    goOn()
                }
            }
        }
    }
}
