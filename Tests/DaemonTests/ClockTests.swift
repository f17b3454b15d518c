import Daemon
import Glibc
import Testing

struct ClockTests {
    @Test func wallClockCountsTensOfMicroseconds() {
        let before = UInt64(time(nil))
        let ticks = WallClock.system.ticks
        #expect(ticks / 100_000 >= before && ticks / 100_000 <= before + 5)
        #expect(WallClock { 250_000 }.seconds == 2)
    }

    @Test func monotonicClockMovesWithTime() {
        let start = MonotonicClock.system.nanoseconds
        usleep(2000)
        let passed = MonotonicClock.system.nanoseconds - start
        #expect(passed >= 2_000_000 && passed < 60_000_000_000)
    }
}
