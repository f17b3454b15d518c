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

    package init(registry: MetricsRegistry) throws(MetricsError) {
        var requests: [Counter] = []
        var durations: [Histogram] = []
        for (_, method) in Self.methods {
            for status in 0..<Self.classes {
                requests.append(
                    try registry.counter(
                        "ringfort_http_requests_total", "Requests by method and class of status",
                        labels: [("method", method), ("status", "\(status)xx")]))
            }
            durations.append(
                try registry.histogram(
                    "ringfort_http_request_seconds", "Time from the head of a request to the end of its answer",
                    labels: [("method", method)]))
        }
        self.requests = requests
        self.durations = durations
        bytesIn = try registry.counter(
            "ringfort_http_received_bytes_total", "Bytes of request bodies", labels: [])
        bytesOut = try registry.counter(
            "ringfort_http_sent_bytes_total", "Bytes of object bodies sent", labels: [])
    }

    package func answered(_ method: HTTPMethod, status: UInt16, nanoseconds: UInt64) {
        let place = Self.methods.firstIndex { $0.0 == method } ?? Self.methods.count - 1
        requests[place * Self.classes + min(Int(status) / 100, Self.classes - 1)].add()
        durations[place].observe(nanoseconds)
    }
}
