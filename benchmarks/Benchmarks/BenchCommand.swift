import ArgumentParser
import Ring

/// Runs the benchmarks and compares them with the committed thresholds.
@main
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ringfort-bench",
        abstract: "Micro-benchmarks of Ringfort, judged by what the same machine does meanwhile.",
        discussion: """
            Exit status 0 when every ratio is within its threshold, 1 when one is not, 2 when a benchmark failed.

            Example:
              ringfort-bench --filter ring,wire
            """)

    @Option(help: "Run only benchmarks whose names contain one of these, separated by commas.")
    var filter = ""
    @Option(help: "Samples of each benchmark, 5 to 1000.")
    var samples = 7
    @Option(help: "Folder of the thresholds.")
    var thresholds = "benchmarks/Thresholds"
    @Option(help: "Folder on the disk to be measured; a new one inside it is used and removed.")
    var directory = "/var/tmp"
    @Flag(help: "One JSON document instead of the table.")
    var json = false
    @Flag(help: "Name the benchmarks and stop.")
    var list = false
    @Flag(help: "Write the ratios of this run into the thresholds instead of comparing. Tolerances stay.")
    var record = false

    func validate() throws {
        guard (5...1000).contains(samples) else { throw ValidationError("--samples is 5 to 1000") }
    }

    func run() throws {
        let all = Self.allBenchmarks
        let words = filter.split(separator: ",")
        let chosen = words.isEmpty ? all : all.filter { benchmark in words.contains { benchmark.name.contains($0) } }
        guard !chosen.isEmpty else { throw ValidationError("no benchmark's name contains \(filter)") }
        if list {
            for benchmark in chosen { print("\(benchmark.name)  (\(benchmark.operation))") }
            return
        }
        let isWorse: Bool
        do {
            isWorse = try judge(chosen, of: all)
        } catch {
            Report.printFailure(error)
            throw ExitCode(2)
        }
        if isWorse { throw ExitCode(1) }
    }

    /// Measures and reports; the result says whether something became worse.
    private func judge(_ chosen: [Benchmark], of all: [Benchmark]) throws -> Bool {
        let known = try Thresholds(directory: thresholds)
        try known.requireBenchmarks(Set(all.map(\.name)))
        let findings = try measure(chosen, known)
        if json { print(Report.json(findings).text) }
        if record { try known.replacing(findings).save(to: thresholds) }
        return !record && findings.contains(where: \.isWorse)
    }

    private func measure(_ benchmarks: [Benchmark], _ thresholds: Thresholds) throws -> [Finding] {
        let workspace = try Workspace(under: directory)
        defer { workspace.remove() }
        let yardsticks = Set(benchmarks.flatMap { $0.checks.map(\.yardstick) })
        let sampler = try Sampler(samples: samples, yardsticks: yardsticks, in: workspace)
        if !json { Report.printHeader() }
        var findings: [Finding] = []
        for benchmark in benchmarks {
            let finding = Finding(try sampler.measure(benchmark, in: workspace), thresholds)
            if !json { Report.printRow(finding) }
            findings.append(finding)
        }
        if !json { Report.printYardsticks(sampler.yardstickSamples) }
        return findings
    }

    private static let allBenchmarks =
        RingBenchmarks.all + DeviceLogBenchmarks.all + StorageWireBenchmarks.all + HTTPServerBenchmarks.all
        + ProxyBenchmarks.all + AccessBenchmarks.all
}
