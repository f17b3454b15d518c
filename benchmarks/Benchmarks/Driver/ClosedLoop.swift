import NIOCore

/// A number of clients on one event loop, each of which begins its next operation when the one before is done.
///
/// Unchecked: its state belongs to the event loop.
final class ClosedLoop: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let clients: Int
    /// Begins an operation, given its serial number; it ends with `finished`, on the loop. Set once, before the first run.
    var begin: (UInt64) -> Void = { _ in }

    private var serial: UInt64 = 0
    private var remaining = 0
    private var pending = 0
    private var failure: String?
    private var completion: EventLoopPromise<Void>?

    init(clients: Int, on eventLoop: any EventLoop) {
        self.clients = clients
        self.eventLoop = eventLoop
    }

    /// Does that many operations, and gives their number in all runs together. Blocks; never on the loop.
    func run(_ operations: Int) throws -> UInt64 {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute {
            self.completion = promise
            self.remaining = operations
            self.pending = operations
            for _ in 0..<min(self.clients, operations) { self.beginNext() }
        }
        try promise.futureResult.wait()
        return serial
    }

    /// An operation has ended; `failure` says why it failed.
    func finished(_ failure: String? = nil) {
        if let failure { self.failure = failure }
        pending -= 1
        if remaining > 0 { beginNext() }
        guard pending == 0, let completion else { return }
        self.completion = nil
        if let failure = self.failure {
            completion.fail(BenchmarkFailure(failure))
        } else {
            completion.succeed()
        }
    }

    private func beginNext() {
        remaining -= 1
        serial += 1
        begin(serial)
    }
}
