import NIOCore
import Testing

@testable import ObjectServer

struct ClientWatchTests {
    private func time(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    @Test func aNodeIsBusyWhileRequestsCome() {
        var watch = ClientWatch()
        watch.note(requests: 1000, now: time(0))
        #expect(!watch.isBusy)
        // Too early to tell.
        watch.note(requests: 2000, now: time(100))
        #expect(!watch.isBusy)
        watch.note(requests: 2000, now: time(250))
        #expect(watch.isBusy)
        watch.note(requests: 2005, now: time(450))
        #expect(!watch.isBusy)
    }

    @Test func stepsAreFollowedByRestsWhileANodeIsBusy() {
        var watch = ClientWatch()
        watch.note(requests: 0, now: time(0))
        watch.noteStep(from: time(200), to: time(210))
        #expect(watch.rest(now: time(211)) == nil)
        watch.note(requests: 100, now: time(215))
        #expect(watch.rest(now: time(215)) == .milliseconds(25))
        #expect(watch.rest(now: time(240)) == nil)
        // A large body takes its time; that is no reason to do nothing for minutes.
        watch.noteStep(from: time(240), to: time(60_240))
        #expect(watch.rest(now: time(60_240)) == .seconds(1))
    }
}
