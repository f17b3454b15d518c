import Glibc
import Synchronization
import Testing

@testable import Daemon

struct SignalWaiterTests {
    @Test func firstStopIsPoliteASecondInterruptIsNot() {
        var decisions = SignalDecisions()
        #expect(decisions.receive(SIGHUP) == .reload)
        #expect(decisions.receive(SIGHUP) == .reload)
        #expect(decisions.receive(SIGINT) == .stop)
        #expect(decisions.receive(SIGHUP) == nil)
        #expect(decisions.receive(SIGTERM) == nil)
        #expect(decisions.receive(SIGINT) == .exit(code: 130))
    }

    @Test func terminationTwiceWaitsForTheFirst() {
        var decisions = SignalDecisions()
        #expect(decisions.receive(SIGTERM) == .stop)
        #expect(decisions.receive(SIGTERM) == nil)
        #expect(decisions.receive(SIGUSR1) == nil)
    }

    @Test func realSignalsReachTheHandler() throws {
        final class Seen: Sendable { let requests = Mutex<[SignalRequest]>([]) }
        let seen = Seen()
        let waiter = try SignalWaiter { request in seen.requests.withLock { $0.append(request) } }
        func wait(for count: Int) -> [SignalRequest] {
            for _ in 0..<5000 where seen.requests.withLock({ $0.count }) < count { usleep(1000) }
            return seen.requests.withLock { $0 }
        }
        waiter.send(SIGHUP)
        #expect(wait(for: 1) == [.reload])
        waiter.send(SIGTERM)
        #expect(wait(for: 2) == [.reload, .stop])
        waiter.send(SIGINT)
        #expect(wait(for: 3) == [.reload, .stop, .exit(code: 130)])
        waiter.stop()
        waiter.stop()
    }
}
