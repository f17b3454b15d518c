import Daemon
import Glibc
import Ring

/// The committed ratios, one file per suite:
///
///     {"tolerance": 1.75, "ratios": {"ring.lookup": {"cpu/md5": 0.0132}}}
struct Thresholds {
    /// Of a suite that has no file yet.
    static let defaultTolerance = 1.75
    private static let maximumFileSize = 1 << 20

    private struct Suite {
        /// A median is worse when it is above the ratio times this.
        var tolerance = defaultTolerance
        /// By benchmark and check.
        var ratios: [String: [String: Double]] = [:]
    }

    private var suites: [String: Suite] = [:]

    /// Reads all `.json` files of a folder.
    init(directory: String) throws(BenchmarkFailure) {
        guard let names = Workspace.entries(of: directory) else {
            throw BenchmarkFailure(
                "\(directory) is not a folder; run from the top of the repository or say --thresholds")
        }
        for name in names where name.hasSuffix(".json") {
            suites[String(name.dropLast(".json".count))] = try Self.read("\(directory)/\(name)")
        }
    }

    /// The ratio above which a median is worse than it was, tolerance included; nil when none is committed.
    func limit(_ benchmark: Benchmark, _ check: Check) -> Double? {
        guard let suite = suites[String(benchmark.suite)] else { return nil }
        return suite.ratios[benchmark.name]?[check.name].map { $0 * suite.tolerance }
    }

    /// A threshold whose benchmark was renamed or removed would guard nothing.
    func requireBenchmarks(_ names: Set<String>) throws(BenchmarkFailure) {
        for suite in suites.values {
            for name in suite.ratios.keys where !names.contains(name) {
                throw BenchmarkFailure("there is a threshold for \(name), which is no benchmark")
            }
        }
    }

    /// These thresholds with the medians of a run.
    func replacing(_ findings: [Finding]) -> Thresholds {
        var result = self
        for finding in findings {
            let ratios = finding.comparisons.map { ($0.check.name, $0.ratio) }
            result.suites[String(finding.measurement.benchmark.suite), default: Suite()]
                .ratios[finding.measurement.benchmark.name] = Dictionary(uniqueKeysWithValues: ratios)
        }
        return result
    }

    func save(to directory: String) throws(BenchmarkFailure) {
        for (name, suite) in suites {
            let path = "\(directory)/\(name).json"
            do { try AtomicFile.write(Array(Self.text(suite).utf8), to: path, mode: 0o644) } catch {
                throw BenchmarkFailure("\(error)")
            }
        }
    }

    /// One line per benchmark, in order, so that a change of one shows as one line.
    private static func text(_ suite: Suite) -> String {
        let lines = suite.ratios.sorted { $0.key < $1.key }.map { name, ratios in
            let members = ratios.sorted { $0.key < $1.key }.map { "\"\($0)\": \(Report.digits($1, 4))" }
            return "    \"\(name)\": {\(members.joined(separator: ", "))}"
        }
        return "{\n  \"tolerance\": \(suite.tolerance),\n  \"ratios\": {\n\(lines.joined(separator: ",\n"))\n  }\n}\n"
    }

    private static func read(_ path: String) throws(BenchmarkFailure) -> Suite {
        let json: JSONValue
        do { json = try JSONValue(parsing: try AtomicFile.read(path, limit: maximumFileSize) ?? []) } catch {
            throw BenchmarkFailure("\(path): \(error)")
        }
        guard let tolerance = json["tolerance"]?.double, tolerance >= 1, case .object(let members)? = json["ratios"]
        else {
            throw BenchmarkFailure("\(path) has no \"tolerance\" of at least 1, or no \"ratios\"")
        }
        var suite = Suite(tolerance: tolerance)
        for member in members {
            guard case .object(let checks) = member.value else { throw BenchmarkFailure("\(path): \(member.name)") }
            for check in checks {
                guard let ratio = check.value.double, ratio > 0 else {
                    throw BenchmarkFailure("\(path): \(member.name), \(check.name)")
                }
                suite.ratios[member.name, default: [:]][check.name] = ratio
            }
        }
        return suite
    }
}
