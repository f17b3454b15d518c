import Testing

@testable import StorageWire

struct SilenceWatchTests {
    @Test func aPeerThatOwesIsAskedAndThenGivenUp() {
        var watch = SilenceWatch()
        let actions = (0..<6).map { _ in watch.sweep(signs: 0, isOwing: true, limit: 6) }
        #expect(actions == [.wait, .wait, .askForSign, .wait, .wait, .giveUp])
    }

    @Test func aSignOfLifeBeginsAnew() {
        var watch = SilenceWatch()
        for sign in 1..<20 as Range<UInt> {
            for _ in 0..<4 { #expect(Self.sweep(&watch, signs: sign) != .giveUp) }
        }
    }

    @Test func whoOwesNothingMayBeSilent() {
        var watch = SilenceWatch()
        for _ in 0..<20 { #expect(Self.sweep(&watch, signs: 0, isOwing: false) == .wait) }
        #expect(Self.sweep(&watch, signs: 0) == .wait)
    }

    // The macros take no mutating calls.
    private static func sweep(_ watch: inout SilenceWatch, signs: UInt, isOwing: Bool = true) -> SilenceWatch.Action {
        watch.sweep(signs: signs, isOwing: isOwing, limit: 4)
    }
}
