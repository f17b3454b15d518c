import Synchronization

/// Why a series could not be added. All of these are mistakes of the program, found the first time it starts.
package enum MetricsError: Error, Equatable {
    case invalidName(String)
    case invalidLabel(String)
    /// Bounds have to rise, and there has to be at least one.
    case invalidBounds(String)
    /// The name is taken by another type of series, or the same labels by the same name.
    case conflict(String)
    case tooManySeries(limit: Int)
}

/// The series of one process and their Prometheus text.
///
///     let puts = try registry.counter("ringfort_requests_total", "Requests answered.", labels: [("operation", "PUT")])
///     puts.add()
///
/// Labels are fixed when a series is made: the hot path holds the handle and never builds a name.
package final class MetricsRegistry: Sendable {
    /// Labels come from operations and devices, never from paths, so this is far away.
    package static let seriesLimit = 10_000

    private let families = Mutex<[String: MetricFamily]>([:])

    package init() {}

    /// Adds a counter.
    package func counter(
        _ name: String, _ help: String, labels: [(String, String)] = []
    ) throws(MetricsError) -> Counter {
        let counter = Counter()
        try add(name, help, .counter, labels, .reading { Double(counter.value) })
        return counter
    }

    /// Adds a counter whose value lives elsewhere. `read` is called for each scrape, on the scraper's thread.
    package func counter(
        _ name: String, _ help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) throws(MetricsError) {
        try add(name, help, .counter, labels, .reading(read))
    }

    /// Adds a gauge.
    package func gauge(
        _ name: String, _ help: String, labels: [(String, String)] = []
    ) throws(MetricsError) -> Gauge {
        let gauge = Gauge()
        try add(name, help, .gauge, labels, .reading { Double(gauge.value) })
        return gauge
    }

    /// Adds a gauge whose value lives elsewhere, such as the free space of a disk. `read` is called for each scrape.
    package func gauge(
        _ name: String, _ help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) throws(MetricsError) {
        try add(name, help, .gauge, labels, .reading(read))
    }

    /// Adds a histogram; `bounds` are inclusive upper bounds in the unit that is observed.
    package func histogram(
        _ name: String, _ help: String, labels: [(String, String)] = [], bounds: [UInt64] = Histogram.latencyBounds,
        unit: Histogram.Unit = .nanoseconds
    ) throws(MetricsError) -> Histogram {
        guard !bounds.isEmpty, zip(bounds, bounds.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw .invalidBounds(name)
        }
        let histogram = Histogram(bounds: bounds, unit: unit)
        try add(name, help, .histogram, labels, .histogram(histogram))
        return histogram
    }

    /// All series in the Prometheus text format 0.0.4, families in the order of their names.
    package func render() -> [UInt8] {
        // Callbacks run outside the lock: they may take locks of their own.
        let families = families.withLock { $0.values.sorted { $0.name < $1.name } }
        var text = PrometheusText()
        for family in families { text.append(family) }
        return text.bytes
    }

    private func add(
        _ name: String, _ help: String, _ kind: MetricFamily.Kind, _ labels: [(String, String)], _ source: MetricSource
    ) throws(MetricsError) {
        guard MetricName.isValid(name) else { throw .invalidName(name) }
        for (label, _) in labels {
            let isReserved = kind == .histogram && label == "le"
            guard MetricName.isValidLabel(label), !isReserved else { throw .invalidLabel(label) }
        }
        guard Set(labels.map(\.0)).count == labels.count else { throw .invalidLabel(name) }
        let series = MetricSeries(labels: PrometheusText.labels(labels), source: source)
        let failure: MetricsError? = families.withLock { families in
            var family = families[name] ?? MetricFamily(name: name, help: help, kind: kind)
            guard families.values.reduce(0, { $0 + $1.series.count }) < Self.seriesLimit else {
                return .tooManySeries(limit: Self.seriesLimit)
            }
            guard family.kind == kind, !family.series.contains(where: { $0.labels == series.labels }) else {
                return .conflict(name)
            }
            family.series.append(series)
            families[name] = family
            return nil
        }
        if let failure { throw failure }
    }
}

/// All series of one name.
struct MetricFamily: Sendable {
    enum Kind: String, Sendable { case counter, gauge, histogram }

    let name: String
    let help: String
    let kind: Kind
    var series: [MetricSeries] = []
}

/// One set of labels, already rendered, and where its value comes from.
struct MetricSeries: Sendable {
    let labels: String
    let source: MetricSource
}

enum MetricSource: Sendable {
    case reading(@Sendable () -> Double)
    case histogram(Histogram)
}

/// What Prometheus takes as a name: `[a-zA-Z_:][a-zA-Z0-9_:]*`, for labels without the colon and without a leading `__`.
enum MetricName {
    static func isValid(_ name: String) -> Bool { isValid(name.utf8, colons: true) }

    static func isValidLabel(_ name: String) -> Bool { isValid(name.utf8, colons: false) && !name.hasPrefix("__") }

    private static func isValid(_ name: String.UTF8View, colons: Bool) -> Bool {
        guard let first = name.first, !isDigit(first) else { return false }
        return name.allSatisfy { byte in
            isDigit(byte) || byte == UInt8(ascii: "_") || (colons && byte == UInt8(ascii: ":"))
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
