/// Writes series in the Prometheus text format 0.0.4 (prometheus.io, "Exposition formats").
struct PrometheusText {
    /// What `/metrics` is served as.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var bytes: [UInt8] = []

    mutating func append(_ family: MetricFamily) {
        line("# HELP \(family.name) \(Self.escaped(family.help, quotes: false))")
        line("# TYPE \(family.name) \(family.kind.rawValue)")
        for series in family.series {
            switch series.source {
            case .reading(let read): line("\(family.name)\(Self.braced(series.labels)) \(Self.number(read()))")
            case .histogram(let histogram): append(histogram, family.name, series.labels)
            }
        }
    }

    private mutating func append(_ histogram: Histogram, _ name: String, _ labels: String) {
        let (counts, sum) = histogram.snapshot()
        let prefix = labels.isEmpty ? "" : labels + ","
        var total: UInt64 = 0
        for (index, count) in counts.enumerated() {
            total += count
            let bound =
                index < histogram.bounds.count
                ? Self.number(Double(histogram.bounds[index]) / histogram.unit.divisor) : "+Inf"
            line("\(name)_bucket{\(prefix)le=\"\(bound)\"} \(total)")
        }
        line("\(name)_sum\(Self.braced(labels)) \(Self.number(Double(sum) / histogram.unit.divisor))")
        line("\(name)_count\(Self.braced(labels)) \(total)")
    }

    private mutating func line(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\n"))
    }

    /// `a="1",b="2"`, values escaped.
    static func labels(_ labels: [(String, String)]) -> String {
        labels.map { "\($0.0)=\"\(escaped($0.1, quotes: true))\"" }.joined(separator: ",")
    }

    private static func braced(_ labels: String) -> String { labels.isEmpty ? "" : "{\(labels)}" }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Whole numbers without a fraction; Go's names for what is no number.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return value.description
    }
}

extension MetricsRegistry {
    /// The `Content-Type` of `render()`.
    package static var contentType: String { PrometheusText.contentType }
}
