import NIOCore
import Testing

@testable import Proxy

struct ResponseTimesTests {
    @Test func untilEnoughIsKnownAReadWaitsAMoment() {
        var times = ResponseTimes()
        for _ in 0..<63 { times.note(.microseconds(50)) }
        #expect(times.patience == .milliseconds(100))
        times.note(.microseconds(50))
        #expect(times.patience == ResponseTimes.shortest)
    }

    /// Classes are half a power of two wide, so three times the 95th percentile is met from above by a factor of 1.5 at most.
    @Test(arguments: [10, 20, 50, 100] as [Int64]) func patienceIsThreeTimesWhatNearlyAllTook(milliseconds: Int64) {
        var times = ResponseTimes()
        for place in 0..<4000 { times.note(place % 25 == 0 ? .seconds(2) : .milliseconds(milliseconds)) }
        let least = 3 * milliseconds
        #expect(times.patience >= .milliseconds(least))
        #expect(times.patience <= .milliseconds(least + least / 2))
    }

    @Test func itIsNeverLongerThanHalfASecond() {
        var times = ResponseTimes()
        for _ in 0..<200 { times.note(.hours(1)) }
        #expect(times.patience == ResponseTimes.longest)
    }

    @Test func whatIsLongAgoFades() {
        var times = ResponseTimes()
        for _ in 0..<10_000 { times.note(.milliseconds(100)) }
        #expect(times.patience >= .milliseconds(300))
        for _ in 0..<20_000 { times.note(.microseconds(100)) }
        #expect(times.patience == ResponseTimes.shortest)
    }
}
