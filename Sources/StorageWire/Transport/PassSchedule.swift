package import NIOCore

/// When a background worker makes its passes: some time after the last one, and at once when somebody asks.
///
/// Unchecked: everything happens on `eventLoop`.
package final class PassSchedule: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let interval: TimeAmount
    private var pass: (() -> EventLoopFuture<Void>)?
    private var scheduled: Scheduled<Void>?
    private var isRunning = false
    /// Who waits for the end of a pass that has not begun yet.
    private var waiting: [EventLoopPromise<Void>] = []
    /// No pass begins any more.
    package private(set) var isStopped = false

    /// - Parameter interval: from the end of a pass to the next one.
    package init(on eventLoop: any EventLoop, interval: TimeAmount) {
        self.eventLoop = eventLoop
        self.interval = interval
    }

    /// On the event loop.
    ///
    /// - Parameters:
    ///   - delay: until the first pass.
    ///   - pass: begins one; called again when its future has ended.
    package func start(after delay: TimeAmount, _ pass: @escaping () -> EventLoopFuture<Void>) {
        self.pass = pass
        schedule(in: waiting.isEmpty ? delay : .zero)
    }

    /// On the event loop. Whoever waits for a pass that has not begun is told that none will come.
    package func stop() {
        isStopped = true
        scheduled?.cancel()
        scheduled = nil
        release(&waiting)
    }

    /// Has a pass made now, or once more after the one under way; done at its end, or when there will be none. From any thread.
    package func run() -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [self] in
            guard !isStopped else { return promise.succeed() }
            waiting.append(promise)
            if !isRunning { begin() }
        }
        return promise.futureResult
    }

    private func schedule(in delay: TimeAmount) {
        guard !isStopped else { return }
        scheduled?.cancel()
        scheduled = eventLoop.scheduleTask(in: delay) { [self] in if !isRunning { begin() } }
    }

    private func begin() {
        guard let pass else { return }
        scheduled?.cancel()
        scheduled = nil
        isRunning = true
        var promises = waiting
        waiting = []
        pass().assumeIsolated().whenComplete { [self] _ in
            isRunning = false
            release(&promises)
            schedule(in: waiting.isEmpty ? interval : .zero)
        }
    }

    private func release(_ promises: inout [EventLoopPromise<Void>]) {
        for promise in promises { promise.succeed() }
        promises = []
    }
}
