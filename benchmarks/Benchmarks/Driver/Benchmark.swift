/// Something to measure, and what its cost is compared with.
struct Benchmark: Sendable {
    /// `suite.case`; the suite names the file of the thresholds.
    let name: String
    /// What one operation is, for `--list`.
    let operation: String
    let checks: [Check]
    let size: SampleSize
    /// Sets up; not measured.
    let prepare: @Sendable (Workspace) throws -> Workload

    init(
        _ name: String, _ operation: String, checks: [Check] = [.cpu(.md5)],
        size: SampleSize = .lasting(milliseconds: 100),
        prepare: @escaping @Sendable (Workspace) throws -> Workload
    ) {
        self.name = name
        self.operation = operation
        self.checks = checks
        self.size = size
        self.prepare = prepare
    }

    var suite: Substring { name.prefix { $0 != "." } }
}

/// How many operations one sample is.
enum SampleSize: Sendable {
    /// As many as take about so long, found out during warm-up.
    case lasting(milliseconds: Double)
    case operations(Int)
}

/// A benchmark that is set up.
struct Workload {
    /// Does that many operations. The result depends on all of them, so that none can be optimised away.
    let run: (_ operations: Int) throws -> UInt64
    /// Gives everything back; not measured.
    let finish: () throws -> Void

    init(run: @escaping (Int) throws -> UInt64, finish: @escaping () throws -> Void = {}) {
        self.run = run
        self.finish = finish
    }
}

/// A quotient that has a threshold: the cost of an operation divided by that of a yardstick, both measured in the same seconds.
struct Check: Hashable, Sendable {
    enum Measure: String, Sendable {
        /// Time of all threads of the process. What other processes do hardly shows in it.
        case cpu
        /// Elapsed time, for what waits.
        case wall
    }

    let measure: Measure
    let yardstick: Yardstick

    static func cpu(_ yardstick: Yardstick) -> Check { Check(measure: .cpu, yardstick: yardstick) }
    static func wall(_ yardstick: Yardstick) -> Check { Check(measure: .wall, yardstick: yardstick) }

    /// As the thresholds name it, such as `cpu/md5`.
    var name: String { "\(measure.rawValue)/\(yardstick.rawValue)" }
}

/// Why there are no figures.
struct BenchmarkFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
