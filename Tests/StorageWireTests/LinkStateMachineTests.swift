import NIOCore
import Testing

@testable import StorageWire

struct LinkStateMachineTests {
    @Test func theFirstCallConnects() {
        var link = LinkStateMachine(firstProbe: .milliseconds(100), longestProbe: .seconds(3))
        #expect(Self.call(&link) == .connectAndSend)
        #expect(Self.call(&link) == .send)
        link.established()
        #expect(Self.call(&link) == .send)
        #expect(Self.lost(&link) == nil)
        #expect(Self.call(&link) == .connectAndSend)
    }

    @Test func afterAReplacementTheNextCallConnects() {
        var link = LinkStateMachine(firstProbe: .milliseconds(100), longestProbe: .seconds(3))
        link.replaced()
        #expect(Self.call(&link) == .connectAndSend)
        // One that does not stand is not replaced.
        link.replaced()
        #expect(Self.call(&link) == .send)
        link.established()
        link.replaced()
        #expect(Self.call(&link) == .connectAndSend)
    }

    @Test func aPeerThatIsDownIsProbedEverMoreSeldom() {
        var link = LinkStateMachine(firstProbe: .milliseconds(100), longestProbe: .milliseconds(350))
        _ = link.call()
        for time in [100, 200, 350, 350] as [Int64] {
            #expect(Self.lost(&link) == .milliseconds(time))
            #expect(Self.call(&link) == .failUnreachable)
            #expect(Self.probe(&link))
            #expect(Self.call(&link) == .failUnreachable)
        }
        link.established()
        #expect(Self.call(&link) == .send)
        // It was there: the intervals begin anew.
        #expect(Self.lost(&link) == nil)
        _ = link.call()
        #expect(Self.lost(&link) == .milliseconds(100))
    }

    /// Whose process hangs takes connections but answers nothing: no call waits for the next one.
    @Test func aPeerThatFellSilentIsDown() {
        var link = LinkStateMachine(firstProbe: .milliseconds(100), longestProbe: .seconds(3))
        _ = link.call()
        link.established()
        #expect(Self.lost(&link, isSilent: true) == .milliseconds(100))
        #expect(Self.call(&link) == .failUnreachable)
        #expect(Self.probe(&link))
        link.established()
        #expect(Self.call(&link) == .send)
    }

    @Test func nothingHappensAfterTheEnd() {
        var link = LinkStateMachine(firstProbe: .milliseconds(100), longestProbe: .seconds(3))
        _ = link.call()
        link.close()
        #expect(Self.lost(&link) == nil)
        link.established()
        #expect(Self.call(&link) == .failClosing)
        #expect(!Self.probe(&link))
    }

    // The macros take no mutating calls.
    private static func call(_ link: inout LinkStateMachine) -> LinkStateMachine.CallAction { link.call() }
    private static func lost(_ link: inout LinkStateMachine, isSilent: Bool = false) -> TimeAmount? {
        link.lost(isSilent: isSilent)
    }
    private static func probe(_ link: inout LinkStateMachine) -> Bool { link.probe() }
}
