import NIOCore

/// When a client connects to a peer, when calls wait for that and when they fail at once. Without I/O.
///
/// The first call brings the connection up. A peer that cannot be reached is known to be down: calls fail at once, while the connection is
/// tried again in the background, at growing intervals, until it stands.
struct LinkStateMachine {
    private enum State: Equatable {
        case idle
        /// With calls waiting for it.
        case connecting
        /// In the background after `failures` attempts.
        case probing(failures: Int)
        case ready
        case down(failures: Int)
        case closed
    }

    enum CallAction: Equatable {
        /// The message may go out, or waits for the connection that is being made.
        case send
        case connectAndSend
        case failUnreachable
        case failClosing
    }

    private var state = State.idle
    private let first: TimeAmount
    private let longest: TimeAmount

    init(firstProbe: TimeAmount, longestProbe: TimeAmount) {
        first = firstProbe
        longest = longestProbe
    }

    var isClosed: Bool { state == .closed }

    mutating func call() -> CallAction {
        switch state {
        case .ready, .connecting: return .send
        case .idle:
            state = .connecting
            return .connectAndSend
        case .probing, .down: return .failUnreachable
        case .closed: return .failClosing
        }
    }

    mutating func established() {
        if state != .closed { state = .ready }
    }

    /// The connection broke or did not come about.
    ///
    /// - Parameter isSilent: the peer was there and does not answer: a process that hangs still takes connections, for which calls would wait in vain.
    /// - Returns: after which time to `probe`; `nil`: not before the next call.
    mutating func lost(isSilent: Bool = false) -> TimeAmount? {
        switch state {
        case .closed, .idle, .down: return nil
        case .ready where !isSilent:
            state = .idle
            return nil
        case .ready, .connecting:
            state = .down(failures: 1)
            return interval(1)
        case .probing(let failures):
            state = .down(failures: failures + 1)
            return interval(failures + 1)
        }
    }

    /// The connection that stands takes no new calls: the next call makes another.
    mutating func replaced() {
        if state == .ready { state = .idle }
    }

    /// The time has come to try again.
    ///
    /// - Returns: whether to connect.
    mutating func probe() -> Bool {
        guard case .down(let failures) = state else { return false }
        state = .probing(failures: failures)
        return true
    }

    mutating func close() { state = .closed }

    private func interval(_ failures: Int) -> TimeAmount {
        min(longest, .nanoseconds(first.nanoseconds << Int64(min(failures - 1, 16))))
    }
}
