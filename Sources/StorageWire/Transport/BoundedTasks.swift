package import Daemon
package import NIOCore

/// Runs a number of tasks on one event loop, some of them at once.
///
/// Unchecked: everything happens on `eventLoop`.
package final class BoundedTasks: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let count: Int
    private let width: Int
    private let pause: () -> TimeAmount?
    private let body: (Int) -> EventLoopFuture<Void>
    private let promise: EventLoopPromise<Void>
    private var next = 0
    private var underWay = 0
    private var isPausing = false

    private init(
        _ count: Int, _ width: Int, _ eventLoop: any EventLoop, _ pause: @escaping () -> TimeAmount?,
        _ body: @escaping (Int) -> EventLoopFuture<Void>
    ) {
        self.eventLoop = eventLoop
        self.count = count
        self.width = width
        self.pause = pause
        self.body = body
        promise = eventLoop.makePromise()
    }

    /// Ends when all have ended, however; others have their turn on the loop between two.
    ///
    /// - Parameters:
    ///   - width: tasks at once.
    ///   - pause: asked before each task: nil begins it, a time is waited for, and then it is asked again.
    ///   - body: begins one, on the event loop.
    package static func run(
        _ count: Int, width: Int, on eventLoop: any EventLoop, pause: @escaping () -> TimeAmount? = { nil },
        _ body: @escaping (Int) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<Void> {
        let tasks = BoundedTasks(count, width, eventLoop, pause, body)
        tasks.goOn()
        return tasks.promise.futureResult
    }

    private func goOn() {
        guard next < count else {
            if underWay == 0 { promise.succeed() }
            return
        }
        while underWay < width, next < count, !isPausing {
            if let time = pause() {
                isPausing = true
                eventLoop.scheduleTask(in: time) { [self] in
                    isPausing = false
                    goOn()
                }
                return
            }
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

extension WorkerControl {
    /// Looked at again after this time while the worker is paused.
    private static let pausedPeriod = TimeAmount.milliseconds(500)

    /// For `BoundedTasks`: how long to wait until the next step.
    package func timeToNextStep() -> TimeAmount? {
        switch step(0) {
        case .proceed, .stop: nil
        case .wait(let nanoseconds): .nanoseconds(Int64(clamping: nanoseconds))
        case .paused: Self.pausedPeriod
        }
    }
}
