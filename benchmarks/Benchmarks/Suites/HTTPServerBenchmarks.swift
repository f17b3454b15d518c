import HTTPServer
import NIOCore

/// Requests out of bytes.
enum HTTPServerBenchmarks {
    static let all = [
        Benchmark("http.put-head", "a PUT of 4 KiB with eleven headers, in one piece") { _ in
            let bytes = ByteBuffer(string: head + String(repeating: "x", count: 4096))
            var parser = HTTPRequestParser()
            return Workload { operations in
                var sum: UInt64 = 0
                for _ in 0..<operations {
                    parser.feed(bytes)
                    var isComplete = false
                    while let event = parser.next() {
                        switch event {
                        case .head(let head): sum &+= UInt64(head.first(.authToken)?.count ?? 0)
                        case .body(let piece): sum &+= UInt64(piece.readableBytes)
                        case .end: isComplete = true
                        case .failure(let error): throw BenchmarkFailure("refused: \(error.reason)")
                        }
                    }
                    guard isComplete else { throw BenchmarkFailure("a request did not end") }
                    parser.startNextRequest()
                }
                return sum
            }
        }
    ]

    /// As OpenStack's client sends it behind a proxy.
    private static let head = """
        PUT /v1/AUTH_test/photographs/holidays/2026/picture-1.jpg HTTP/1.1\r
        Host: store.example.org:8080\r
        User-Agent: python-swiftclient-4.8.0\r
        Accept-Encoding: identity\r
        X-Auth-Token: AUTH_tkAQEAAAAAaFxnAAAAAAAAAAAqAAR0ZXN0AAZ0ZXN0ZXIA3rM9iYx0P2m0a3xk8Ff3b1cE5sQnU7ZgXv9hJ2tLw6o\r
        Content-Type: image/jpeg\r
        Content-Length: 4096\r
        ETag: 9e107d9d372bb6826bd81d3542a419d6\r
        X-Object-Meta-Mtime: 1750000000.123456\r
        X-Object-Meta-Camera: Pinhole 3000\r
        X-Forwarded-For: 192.0.2.17\r
        Connection: keep-alive\r
        \r

        """
}
