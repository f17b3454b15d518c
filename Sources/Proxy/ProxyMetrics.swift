package import Daemon
package import HTTPServer

/// What the proxy counts.
package struct ProxyMetrics: Sendable {
    private let requests: [Counter]
    private let durations: [Histogram]
    package let bytesIn: Counter
    package let bytesOut: Counter

    private static let methods: [(HTTPMethod?, String)] = [
        (.get, "GET"), (.head, "HEAD"), (.put, "PUT"), (.post, "POST"), (.delete, "DELETE"), (.copy, "COPY"),
        (.options, "OPTIONS"), (nil, "other"),
    ]
    private static let classes = 6

    package init(registry: MetricsRegistry) throws {
        var requests: [Counter] = []
        var durations: [Histogram] = []
        for (_, method) in Self.methods {
            for status in 0..<Self.classes {
                requests.append(
                    try registry.counter(
                        "ringfort_http_requests_total", help: "Requests by method and class of status",
                        labels: [("method", method), ("status", "\(status)xx")]))
            }
            durations.append(
                try registry.histogram(
                    "ringfort_http_request_seconds", help: "Time from the head of a request to the end of its answer",
                    labels: [("method", method)],
                    buckets: [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30]))
        }
        self.requests = requests
        self.durations = durations
        bytesIn = try registry.counter(
            "ringfort_http_received_bytes_total", help: "Bytes of request bodies", labels: [])
        bytesOut = try registry.counter(
            "ringfort_http_sent_bytes_total", help: "Bytes of object bodies sent", labels: [])
    }

    package func answered(_ method: HTTPMethod, status: UInt16, seconds: Double) {
        let place = Self.methods.firstIndex { $0.0 == method } ?? Self.methods.count - 1
        requests[place * Self.classes + min(Int(status) / 100, Self.classes - 1)].increment()
        durations[place].observe(seconds)
    }
}
