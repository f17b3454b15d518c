import Glibc
import Ring

/// A measurement beside its thresholds.
struct Finding {
    struct Comparison {
        let check: Check
        /// The median.
        let ratio: Double
        /// Threshold times tolerance; nil when none is committed.
        let limit: Double?

        var isWorse: Bool { limit.map { ratio > $0 } ?? false }
    }

    let measurement: Measurement
    let comparisons: [Comparison]

    init(_ measurement: Measurement, _ thresholds: Thresholds) {
        self.measurement = measurement
        comparisons = measurement.benchmark.checks.map { check in
            Comparison(
                check: check, ratio: measurement.ratios[check, default: []].median,
                limit: thresholds.limit(measurement.benchmark, check))
        }
    }

    var isWorse: Bool { comparisons.contains(where: \.isWorse) }
}

/// What a run prints.
enum Report {
    private static let widths = [-30, 10, 10, 10, 10, -14, 10, 10]

    static func printHeader() {
        printLine(["benchmark, per operation", "median", "min", "max", "CPU", "  against", "ratio", "limit", ""])
    }

    static func printRow(_ finding: Finding) {
        let samples = finding.measurement.samples
        let walls = samples.map(\.wall)
        var cells = [
            finding.measurement.benchmark.name, time(walls.median), time(walls.min() ?? 0), time(walls.max() ?? 0),
            time(samples.map(\.cpu).median),
        ]
        for comparison in finding.comparisons {
            let verdict = comparison.isWorse ? "  WORSE" : comparison.limit == nil ? "  no threshold" : ""
            let limit = comparison.limit.map { digits($0, 3) } ?? "-"
            printLine(cells + ["  \(comparison.check.name)", digits(comparison.ratio, 3), limit, verdict])
            cells = ["", "", "", "", ""]
        }
    }

    static func printYardsticks(_ samples: [Yardstick: [Sample]]) {
        print("\nThe machine meanwhile:")
        for yardstick in Yardstick.allCases {
            guard let taken = samples[yardstick] else { continue }
            let walls = taken.map(\.wall)
            printLine([
                yardstick.rawValue, time(walls.median), time(walls.min() ?? 0), time(walls.max() ?? 0),
                time(taken.map(\.cpu).median),
            ])
        }
    }

    /// To the standard error stream, so that `--json` stays JSON.
    static func printFailure(_ error: any Error) {
        let line = Array("ringfort-bench: \(error)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    /// All times in nanoseconds per operation.
    static func json(_ findings: [Finding]) -> JSONValue {
        .array(
            findings.map { finding in
                let measurement = finding.measurement
                let walls = measurement.samples.map(\.wall)
                return .object([
                    JSONMember("name", .string(measurement.benchmark.name)),
                    JSONMember("operation", .string(measurement.benchmark.operation)),
                    JSONMember("samples", .integer(walls.count)),
                    JSONMember("operations_per_sample", .integer(measurement.operations)),
                    JSONMember("median", .number(walls.median)),
                    JSONMember("min", .number(walls.min() ?? 0)),
                    JSONMember("max", .number(walls.max() ?? 0)),
                    JSONMember("cpu", .number(measurement.samples.map(\.cpu).median)),
                    JSONMember("checks", .array(finding.comparisons.map(json))),
                ])
            })
    }

    private static func json(_ comparison: Finding.Comparison) -> JSONValue {
        .object([
            JSONMember("against", .string(comparison.check.name)),
            JSONMember("ratio", .number(comparison.ratio)),
            JSONMember("limit", comparison.limit.map { .number($0) } ?? .null),
            JSONMember("worse", .bool(comparison.isWorse)),
        ])
    }

    private static func time(_ nanoseconds: Double) -> String {
        switch nanoseconds {
        case ..<1e3: digits(nanoseconds, 3) + " ns"
        case ..<1e6: digits(nanoseconds / 1e3, 3) + " us"
        case ..<1e9: digits(nanoseconds / 1e6, 3) + " ms"
        default: digits(nanoseconds / 1e9, 3) + " s"
        }
    }

    /// A positive number with that many significant digits, such as 0.00123.
    static func digits(_ value: Double, _ count: Int) -> String {
        guard value > 0, value.isFinite else { return "0" }
        let exponent = Int(log10(value).rounded(.down))
        guard exponent < count - 1 else { return String(Int(value.rounded())) }
        let places = count - 1 - exponent
        let scaled = String(Int((value * pow(10, Double(places))).rounded()))
        let padded = String(repeating: "0", count: max(0, places + 1 - scaled.utf8.count)) + scaled
        return "\(padded.dropLast(places)).\(padded.suffix(places))"
    }

    /// Negative widths align to the left.
    private static func printLine(_ cells: [String]) {
        var line = ""
        for (index, cell) in cells.enumerated() {
            let width = index < widths.count ? widths[index] : 0
            let space = String(repeating: " ", count: max(0, abs(width) - cell.utf8.count))
            line += (width < 0 ? cell + space : space + cell) + " "
        }
        while line.last == " " { line.removeLast() }
        print(line)
        // A pipe would keep it back.
        fflush(nil)
    }
}
