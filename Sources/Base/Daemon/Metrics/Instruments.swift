import Synchronization

/// A number that only grows. One relaxed atomic add per event; keep the handle, don't look it up.
package final class Counter: Sendable {
    private let total = Atomic<UInt64>(0)

    package func add(_ amount: UInt64 = 1) { total.wrappingAdd(amount, ordering: .relaxed) }

    package var value: UInt64 { total.load(ordering: .relaxed) }
}

/// A number that goes up and down, such as open connections.
package final class Gauge: Sendable {
    private let current = Atomic<Int64>(0)

    package func set(_ value: Int64) { current.store(value, ordering: .relaxed) }

    package func add(_ amount: Int64) { current.wrappingAdd(amount, ordering: .relaxed) }

    package var value: Int64 { current.load(ordering: .relaxed) }
}

/// How many observations fell below each of a few fixed bounds, and their sum.
package final class Histogram: @unchecked Sendable {
    // The cells are atomics, and the memory that holds them never changes between init and deinit.

    /// What is observed, and what a scrape sees.
    package enum Unit: Sendable {
        /// Observed in nanoseconds, rendered in seconds.
        case nanoseconds
        /// Observed and rendered as it is: bytes, records, ...
        case count

        var divisor: Double {
            switch self {
            case .nanoseconds: 1e9
            case .count: 1
            }
        }
    }

    /// From 50 microseconds to 30 seconds, in nanoseconds: what a request or a disk can take.
    package static let latencyBounds: [UInt64] = [
        50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
        100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 10_000_000_000, 30_000_000_000,
    ]

    let bounds: [UInt64]
    let unit: Unit
    private let cells: UnsafeMutablePointer<Atomic<UInt64>>
    private let sum = Atomic<UInt64>(0)

    init(bounds: [UInt64], unit: Unit) {
        self.bounds = bounds
        self.unit = unit
        cells = .allocate(capacity: bounds.count + 1)
        for index in 0...bounds.count { (cells + index).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: bounds.count + 1)
        cells.deallocate()
    }

    /// Counts one observation; two relaxed atomic adds.
    package func observe(_ value: UInt64) {
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        cells[index].wrappingAdd(1, ordering: .relaxed)
        sum.wrappingAdd(value, ordering: .relaxed)
    }

    /// Observations per bucket, the last one without an upper bound, and the sum of all values.
    package func snapshot() -> (counts: [UInt64], sum: UInt64) {
        ((0...bounds.count).map { cells[$0].load(ordering: .relaxed) }, sum.load(ordering: .relaxed))
    }
}
