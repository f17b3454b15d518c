import Glibc
import Synchronization

/// What a signal asks of the process.
package enum SignalRequest: Equatable, Sendable {
    /// Finish what runs, then end (SIGTERM, SIGINT).
    case stop
    /// Read users and rings again (SIGHUP).
    case reload
    /// End at once with this code: somebody at a terminal asked a second time.
    case exit(code: Int32)
}

/// Turns a sequence of signals into requests: the first stop is polite, a second SIGINT is not.
package struct SignalDecisions: Sendable {
    private var stopping = false

    package init() {}

    /// The request that `signal` makes now; nil when there is nothing to do, such as a reload of a process that ends.
    package mutating func receive(_ signal: Int32) -> SignalRequest? {
        switch signal {
        case SIGHUP:
            return stopping ? nil : .reload
        case SIGINT where stopping:
            return .exit(code: 128 + signal)
        case SIGTERM, SIGINT:
            defer { stopping = true }
            return stopping ? nil : .stop
        default:
            return nil
        }
    }
}

/// A thread that waits for SIGTERM, SIGINT and SIGHUP, so that no signal handler ever runs in the middle of other code.
///
/// Call `blockSignals()` first thing in `main`: threads inherit the mask, and a signal goes to any thread that does not block it.
package final class SignalWaiter: Sendable {
    private static let waited = [SIGTERM, SIGINT, SIGHUP]

    private let thread: ServiceThread
    private let ended: Flag

    private final class Flag: Sendable { let isSet = Atomic(false) }

    /// - Parameter handle: called on the waiter's thread for each request; it has to be quick.
    package init(_ handle: @escaping @Sendable (SignalRequest) -> Void) throws(FileError) {
        let ended = Flag()
        self.ended = ended
        // Before the thread starts, so that no signal finds it unprepared.
        Self.blockSignals()
        thread = try ServiceThread(named: "signals") {
            var decisions = SignalDecisions()
            while true {
                let signal = Self.nextSignal()
                if ended.isSet.load(ordering: .acquiring) { return }
                if let request = decisions.receive(signal) { handle(request) }
            }
        }
    }

    /// Ends the thread. Not to be called from `handle`.
    package func stop() {
        guard !ended.isSet.exchange(true, ordering: .acquiringAndReleasing) else { return }
        send(SIGHUP)
        thread.join()
    }

    /// Sends a signal to the waiter alone, as if it had come from outside.
    func send(_ signal: Int32) { pthread_kill(thread.handle, signal) }

    /// Keeps the waiter's signals from the calling thread and the threads it starts, and ignores SIGPIPE: a peer that went
    /// away is an error of `write`.
    package static func blockSignals() {
        var set = waitedSet()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    private static func nextSignal() -> Int32 {
        var set = waitedSet()
        var received: Int32 = 0
        while sigwait(&set, &received) != 0 {}
        return received
    }

    private static func waitedSet() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in waited { sigaddset(&set, signal) }
        return set
    }
}
