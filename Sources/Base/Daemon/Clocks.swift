import Glibc
import Synchronization

/// The time of day as a value that is handed in, so that tests and the simulation can bring their own.
package struct WallClock: Sendable {
    private let read: @Sendable () -> UInt64

    /// - Parameter read: the time in 10-microsecond ticks since 1970; it may go back.
    package init(_ read: @escaping @Sendable () -> UInt64) { self.read = read }

    /// The time now in 10-microsecond ticks since 1970 (the unit of OpenStack Swift's `X-Timestamp`).
    package var ticks: UInt64 { read() }

    /// Whole seconds since 1970.
    package var seconds: Int64 { Int64(read() / Self.ticksPerSecond) }

    package static let ticksPerSecond: UInt64 = 100_000

    /// `CLOCK_REALTIME`, and what `shiftSystem` adds to it.
    package static let system = WallClock {
        let now = clockTime(CLOCK_REALTIME)
        let ticks = Int64(now.tv_sec) * Int64(ticksPerSecond) + Int64(now.tv_nsec) / 10_000
        return UInt64(max(0, ticks + shift.load(ordering: .relaxed)))
    }

    /// Lets the whole process believe in another time: a test's node whose clock is off.
    ///
    /// - Parameter milliseconds: negative for a clock that is behind.
    package static func shiftSystem(milliseconds: Int64) {
        shift.store(milliseconds * Int64(ticksPerSecond) / 1000, ordering: .relaxed)
    }

    private static let shift = Atomic<Int64>(0)
}

/// A clock that never goes back, for deadlines and durations.
package struct MonotonicClock: Sendable {
    private let read: @Sendable () -> UInt64

    /// - Parameter read: nanoseconds since an arbitrary moment; it never goes back.
    package init(_ read: @escaping @Sendable () -> UInt64) { self.read = read }

    /// Nanoseconds since an arbitrary moment of this process or machine.
    package var nanoseconds: UInt64 { read() }

    /// `CLOCK_MONOTONIC`.
    package static let system = MonotonicClock {
        let now = clockTime(CLOCK_MONOTONIC)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}

/// `clock_gettime` cannot fail for the clocks that this file asks for.
func clockTime(_ clock: clockid_t) -> timespec {
    var now = timespec()
    clock_gettime(clock, &now)
    return now
}
