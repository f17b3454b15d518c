import Synchronization

/// When something was written: 10-microsecond ticks since 1970 (OpenStack Swift's unit) and 14 bits that tell writes of one tick apart.
///
/// Larger is newer, everywhere and always; 0 means never. Two proxies that write in the same tick differ in the low bits.
package struct Timestamp: RawRepresentable, Hashable, Comparable, Sendable {
    /// `ticks << 14 | tieBreak`.
    package let rawValue: UInt64

    package static let tieBreakBits: UInt64 = 14
    package static let never = Timestamp(rawValue: 0)

    @inlinable
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    @inlinable
    package init(ticks: UInt64, tieBreak: UInt64 = 0) {
        rawValue = ticks << Self.tieBreakBits | (tieBreak & ((1 << Self.tieBreakBits) - 1))
    }

    /// 10-microsecond units since 1970, as in `X-Timestamp`.
    @inlinable
    package var ticks: UInt64 { rawValue >> Self.tieBreakBits }

    /// Whole seconds since 1970, rounded down.
    package var seconds: Int64 { Int64(ticks / 100_000) }

    @inlinable
    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.rawValue < right.rawValue }
}

/// Gives timestamps that never go back and never repeat in one process, whatever the wall clock does.
package final class TimestampSource: Sendable {
    private let now: @Sendable () -> UInt64
    private let last: Atomic<UInt64>
    private let tieBreak: UInt64

    /// - Parameters:
    ///   - tieBreak: a number that differs between proxies; only its low 14 bits count.
    ///   - now: the wall clock in 10-microsecond ticks.
    package init(tieBreak: UInt64, now: @escaping @Sendable () -> UInt64) {
        self.tieBreak = tieBreak
        self.now = now
        last = Atomic(0)
    }

    /// A timestamp newer than every one that this source gave before, and newer than `floor`.
    package func next(after floor: Timestamp = .never) -> Timestamp {
        let wall = now()
        while true {
            let previous = last.load(ordering: .relaxed)
            let ticks = max(wall, previous &+ 1, floor.ticks &+ 1)
            if last.compareExchange(expected: previous, desired: ticks, ordering: .relaxed).exchanged {
                return Timestamp(ticks: ticks, tieBreak: tieBreak)
            }
        }
    }

    /// The wall clock in ticks, for expiry and reports; it may go back.
    package func wallTicks() -> UInt64 { now() }
}
