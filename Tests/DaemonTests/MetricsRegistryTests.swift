import Daemon
import Synchronization
import Testing

struct MetricsRegistryTests {
    let registry = MetricsRegistry()
    var text: String { String(decoding: registry.render(), as: UTF8.self) }

    @Test func rendersCountersAndGauges() throws {
        let puts = try registry.counter("requests_total", "Requests.", labels: [("operation", "PUT")])
        let gets = try registry.counter("requests_total", "Requests.", labels: [("operation", "GET")])
        let open = try registry.gauge("connections", "Open connections.")
        puts.add()
        puts.add(41)
        gets.add(7)
        open.add(3)
        open.add(-5)
        #expect(
            text == """
                # HELP connections Open connections.
                # TYPE connections gauge
                connections -2
                # HELP requests_total Requests.
                # TYPE requests_total counter
                requests_total{operation="PUT"} 42
                requests_total{operation="GET"} 7

                """)
    }

    @Test func histogramBucketsAreCumulativeAndInclusive() throws {
        let latency = try registry.histogram(
            "latency_seconds", "Time.", labels: [("disk", "d1")], bounds: [1_000_000, 5_000_000])
        for nanoseconds: UInt64 in [500_000, 1_000_000, 1_000_001, 9_000_000_000] { latency.observe(nanoseconds) }
        #expect(
            text == """
                # HELP latency_seconds Time.
                # TYPE latency_seconds histogram
                latency_seconds_bucket{disk="d1",le="0.001"} 2
                latency_seconds_bucket{disk="d1",le="0.005"} 3
                latency_seconds_bucket{disk="d1",le="+Inf"} 4
                latency_seconds_sum{disk="d1"} 9.002500001
                latency_seconds_count{disk="d1"} 4

                """)
    }

    @Test func histogramOfCountsIsNotScaled() throws {
        let batch = try registry.histogram("batch_records", "Records.", bounds: [1, 16], unit: .count)
        batch.observe(3)
        #expect(text.contains("batch_records_bucket{le=\"16\"} 1\n"))
        #expect(text.contains("batch_records_sum 3\n"))
    }

    @Test func callbacksAreAskedForEachScrape() throws {
        let calls = Atomic<Int>(0)
        try registry.gauge("free_bytes", "Free.") { Double(calls.add(1, ordering: .relaxed).newValue) / 2 }
        #expect(text.contains("free_bytes 0.5\n"))
        #expect(text.contains("free_bytes 1\n"))
    }

    @Test(arguments: [
        (Double.nan, "NaN"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (1e300, "1e+300"), (0.25, "0.25"),
    ])
    func oddNumbersHaveGoNames(value: Double, shown: String) throws {
        try registry.gauge("odd", "Odd.") { value }
        #expect(text.contains("odd \(shown)\n"))
    }

    @Test func labelValuesAndHelpAreEscaped() throws {
        try registry.gauge("g", "a\\b\nc\"d", labels: [("path", "a\\b\n\"c\"\r\n")]) { 1 }
        #expect(text.contains("# HELP g a\\\\b\\nc\"d\n"))
        #expect(text.contains("g{path=\"a\\\\b\\n\\\"c\\\"\r\\n\"} 1\n"))
    }

    @Test(arguments: ["", "1a", "a b", "a-b", "é", "a{b}", "a\n"])
    func wrongNamesAreRefused(name: String) {
        #expect(throws: MetricsError.invalidName(name)) { try registry.counter(name, "") }
        #expect(throws: MetricsError.invalidLabel(name)) { try registry.counter("ok", "", labels: [(name, "v")]) }
        #expect(text.isEmpty)
    }

    @Test func reservedAndRepeatedLabelsAreRefused() {
        #expect(throws: MetricsError.invalidLabel("__name")) { try registry.gauge("g", "", labels: [("__name", "")]) }
        #expect(throws: MetricsError.invalidLabel("a:b")) { try registry.gauge("g", "", labels: [("a:b", "")]) }
        let twice = [("a", "1"), ("a", "2")]
        #expect(throws: MetricsError.invalidLabel("g")) { try registry.gauge("g", "", labels: twice) }
        #expect(throws: MetricsError.invalidLabel("le")) { try registry.histogram("h", "", labels: [("le", "1")]) }
    }

    @Test func conflictsAreRefused() throws {
        _ = try registry.counter("a:b_1", "", labels: [("x", "1")])
        #expect(throws: MetricsError.conflict("a:b_1")) { try registry.counter("a:b_1", "", labels: [("x", "1")]) }
        #expect(throws: MetricsError.conflict("a:b_1")) { try registry.gauge("a:b_1", "", labels: [("x", "2")]) }
        #expect(throws: MetricsError.invalidBounds("h")) { try registry.histogram("h", "", bounds: [2, 2]) }
        #expect(throws: MetricsError.invalidBounds("h")) { try registry.histogram("h", "", bounds: []) }
    }

    @Test func addsFromManyThreadsAllCount() async throws {
        let total = try registry.counter("total", "")
        let sizes = try registry.histogram("sizes", "", bounds: [10, 20], unit: .count)
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for _ in 0..<10_000 {
                        total.add()
                        sizes.observe(UInt64(worker * 10))
                    }
                }
            }
        }
        #expect(total.value == 40_000)
        #expect(sizes.snapshot().counts == [20_000, 10_000, 10_000])
        #expect(sizes.snapshot().sum == 600_000)
    }
}
