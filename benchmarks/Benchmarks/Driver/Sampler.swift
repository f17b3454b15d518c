import Glibc

/// The cost of one operation, as the mean of one sample, in nanoseconds.
struct Sample: Sendable {
    var wall: Double
    /// Of all threads of the process.
    var cpu: Double

    subscript(measure: Check.Measure) -> Double {
        switch measure {
        case .cpu: cpu
        case .wall: wall
        }
    }
}

/// The samples of one benchmark, and for each check the quotients taken beside them.
struct Measurement: Sendable {
    let benchmark: Benchmark
    /// Operations of each sample.
    let operations: Int
    let samples: [Sample]
    let ratios: [Check: [Double]]
}

/// Measures benchmarks, with the yardsticks right before and after every sample: machines change their pace, and both feel it.
final class Sampler {
    private let samples: Int
    private let yardsticks: [Yardstick: Workload]
    /// All that was measured of the machine itself.
    private(set) var yardstickSamples: [Yardstick: [Sample]] = [:]
    /// Everything that workloads returned ends here.
    private var residue: UInt64 = 0

    init(samples: Int, yardsticks: Set<Yardstick>, in workspace: Workspace) throws {
        self.samples = samples
        self.yardsticks = try Dictionary(uniqueKeysWithValues: yardsticks.map { ($0, try $0.prepare(workspace)) })
        for (yardstick, workload) in self.yardsticks { _ = try time(workload, yardstick.operations) }
    }

    deinit {
        // Nothing is left to be measured: a file that does not close is gone with the process.
        for workload in yardsticks.values { try? workload.finish() }
    }

    func measure(_ benchmark: Benchmark, in workspace: Workspace) throws -> Measurement {
        let workload = try benchmark.prepare(workspace)
        let operations = try warmUp(workload, benchmark.size)
        var taken: [Sample] = []
        var ratios: [Check: [Double]] = [:]
        let wanted = Set(benchmark.checks.map(\.yardstick))
        var before = try measureYardsticks(wanted)
        for _ in 0..<samples {
            let sample = try time(workload, operations)
            let after = try measureYardsticks(wanted)
            taken.append(sample)
            for check in benchmark.checks {
                guard let first = before[check.yardstick], let second = after[check.yardstick] else { continue }
                let unit = (first[check.measure] + second[check.measure]) / 2
                ratios[check, default: []].append(sample[check.measure] / unit)
            }
            before = after
        }
        try workload.finish()
        return Measurement(benchmark: benchmark, operations: operations, samples: taken, ratios: ratios)
    }

    private func measureYardsticks(_ wanted: Set<Yardstick>) throws -> [Yardstick: Sample] {
        var units: [Yardstick: Sample] = [:]
        for yardstick in wanted {
            guard let workload = yardsticks[yardstick] else { continue }
            let sample = try time(workload, yardstick.operations)
            units[yardstick] = sample
            yardstickSamples[yardstick, default: []].append(sample)
        }
        return units
    }

    /// Runs until caches are warm and the number of operations of a sample is known.
    private func warmUp(_ workload: Workload, _ size: SampleSize) throws -> Int {
        let operations: Int
        switch size {
        case .operations(let count): operations = count
        case .lasting(let milliseconds):
            let wanted = milliseconds * 1e6
            var count = 1
            var total = try time(workload, count).wall
            while total < wanted / 4, count < Self.maximumOperations {
                count *= total < wanted / 64 ? 8 : 2
                total = try time(workload, count).wall * Double(count)
            }
            operations = max(1, min(Self.maximumOperations, Int(Double(count) * wanted / total)))
        }
        _ = try time(workload, operations)
        return operations
    }

    /// Of one sample.
    private static let maximumOperations = 1 << 28

    private func time(_ workload: Workload, _ operations: Int) throws -> Sample {
        let (wall, cpu) = (Self.nanoseconds(CLOCK_MONOTONIC), Self.nanoseconds(CLOCK_PROCESS_CPUTIME_ID))
        residue ^= try workload.run(operations)
        return Sample(
            wall: (Self.nanoseconds(CLOCK_MONOTONIC) - wall) / Double(operations),
            cpu: (Self.nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / Double(operations))
    }

    private static func nanoseconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }
}

extension [Double] {
    /// The middle one, 0 when there is none.
    var median: Double {
        guard !isEmpty else { return 0 }
        let sorted = sorted()
        return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
    }
}
