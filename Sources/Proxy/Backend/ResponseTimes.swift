package import NIOCore

/// How long replicas took to answer of late, and so for how long a read waits for one before another one is asked too.
///
/// A value without a clock. Times fall into classes that are half a power of two wide; their counts are halved now and then, so that old ones fade.
package struct ResponseTimes: Sendable {
    private var counts = [UInt32](repeating: 0, count: Self.classes)
    private var total: UInt32 = 0
    /// Three times what 95 of 100 answers took at most, within `shortest` and `longest`.
    package private(set) var patience = Self.unknown

    /// Below it every hiccup of a scheduler would send a second question.
    package static let shortest = TimeAmount.milliseconds(20)
    /// A cluster that is slow as a whole does not get better by more questions, but a silent replica is not waited for longer than this.
    package static let longest = TimeAmount.milliseconds(500)
    /// While little is known.
    private static let unknown = TimeAmount.milliseconds(100)
    private static let fewest: UInt32 = 64
    private static let most: UInt32 = 2048
    /// Of microseconds: up to a minute.
    private static let classes = 52

    package init() {}

    package mutating func note(_ time: TimeAmount) {
        counts[Self.place(of: time)] += 1
        total += 1
        guard total % Self.fewest == 0 else { return }
        patience = min(Self.longest, max(Self.shortest, .nanoseconds(3 * percentile95.nanoseconds)))
        guard total >= Self.most else { return }
        for place in counts.indices { counts[place] /= 2 }
        total = counts.reduce(0, +) / Self.fewest * Self.fewest
    }

    /// The upper end of the class that the 95th of 100 is in.
    private var percentile95: TimeAmount {
        var above = counts.reduce(0, +) / 20
        for place in counts.indices.reversed() {
            if counts[place] > above { return Self.end(of: place) }
            above -= counts[place]
        }
        return .zero
    }

    private static func place(of time: TimeAmount) -> Int {
        let microseconds = UInt64(max(1, time.nanoseconds / 1000))
        let power = 63 - microseconds.leadingZeroBitCount
        let isUpper = power > 0 && microseconds >> UInt64(power - 1) & 1 == 1
        return min(classes - 1, 2 * power + (isUpper ? 1 : 0))
    }

    private static func end(of place: Int) -> TimeAmount {
        let power = Int64(1) << Int64(place / 2)
        return .microseconds(place % 2 == 1 ? 2 * power : power + power / 2)
    }
}
