import HTTPServer
import Testing

/// Requests that two servers might read differently, or that are too large: each must be refused, whole and byte by byte.
@Suite struct SmugglingTests {
    static let host = "Host: h\r\n"
    static let put = "PUT / HTTP/1.1\r\nHost: h\r\n"
    static let chunked = put + "Transfer-Encoding: chunked\r\n\r\n"

    static let refused: [(String, Int)] = [
        // Lengths
        (put + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (put + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (put + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (put + "Content-Length: 5, 5\r\n\r\n", 400),
        (put + "Content-Length: -1\r\n\r\n", 400),
        (put + "Content-Length: +1\r\n\r\n", 400),
        (put + "Content-Length: 0x10\r\n\r\n", 400),
        (put + "Content-Length: 1 0\r\n\r\n", 400),
        (put + "Content-Length: \r\n\r\n", 400),
        (put + "Content-Length: 9223372036854775808\r\n\r\n", 400),
        (put + "Content-Length: 99999999999999999999999\r\n\r\n", 400),
        // Transfer codings
        (put + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (put + "Transfer-Encoding: identity\r\n\r\n", 501),
        (put + "Transfer-Encoding: xchunked\r\n\r\n", 501),
        (put + "Transfer-Encoding: \"chunked\"\r\n\r\n", 501),
        (put + "Transfer-Encoding:\r\n\r\n", 501),
        (put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (put + "Transfer-Encoding: \u{0B}chunked\r\n\r\n", 400),
        ("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        // Lines
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        // Names and values
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA(b): c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\0: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: c\0d\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: long enough for words \u{1B} and on\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \u{7F}\r\n\r\n", 400),
        // Host
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400),
        // Request lines
        ("GET  / HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET / HTTP/1.1 \r\n\(host)\r\n", 400),
        ("GET /a b HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET /\0 HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET /\u{7F} HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET\t/ HTTP/1.1\r\n\(host)\r\n", 400),
        (" GET / HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / http/1.1\r\n\(host)\r\n", 400),
        ("GET / HTTP/1.11\r\n\(host)\r\n", 400),
        ("GET / HTTP/2.0\r\n\(host)\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET * HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET a HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET ftp://h/ HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET http:///p HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET http://u@h/p HTTP/1.1\r\n\(host)\r\n", 400),
        ("CONNECT h:443 HTTP/1.1\r\n\(host)\r\n", 400),
        ("G@T / HTTP/1.1\r\n\(host)\r\n", 400),
        (String(repeating: "G", count: 33) + " / HTTP/1.1\r\n\(host)\r\n", 400),
        ("\u{16}\u{3}\u{1}", 400),
        ("GET / HTTP/1.1\r\n\(host)Expect: 200-ok\r\n\r\n", 417),
        // Limits
        ("GET /" + String(repeating: "a", count: 17_000) + " HTTP/1.1\r\n\(host)\r\n", 414),
        (String(repeating: "G", count: 17_000), 414),
        ("GET / HTTP/1.1\r\n" + String(repeating: "A: b\r\n", count: 201) + "\r\n", 431),
        ("GET / HTTP/1.1\r\nA: " + String(repeating: "b", count: 66_000) + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nA: " + String(repeating: "b", count: 66_000), 431),
    ]

    /// Bodies that break off with 400 or 431 after their head.
    static let brokenBodies: [(String, Int)] = [
        ("5\r\nhelloX\r\n0\r\n\r\n", 400),
        ("5\r\nhello\n0\r\n\r\n", 400),
        ("5\nhello\r\n0\r\n\r\n", 400),
        ("5\r\nhello\r\n0\n\r\n", 400),
        ("5 \r\nhello\r\n0\r\n\r\n", 400),
        (" 5\r\nhello\r\n0\r\n\r\n", 400),
        ("5 ;a\r\nhello\r\n0\r\n\r\n", 400),
        ("0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("-5\r\nhello\r\n0\r\n\r\n", 400),
        ("\r\nhello\r\n0\r\n\r\n", 400),
        ("g\r\n", 400),
        (";a\r\n", 400),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", 400),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("8000000000000000\r\n", 400),
        ("FFFFFFFFFFFFFFFFF\r\n", 400),
        ("5;" + String(repeating: "a", count: 300) + "\r\nhello\r\n0\r\n\r\n", 400),
        (String(repeating: "0", count: 300), 400),
        (String(repeating: "1;" + String(repeating: "a", count: 200) + "\r\nx\r\n", count: 100), 400),
        ("0\r\nA : b\r\n\r\n", 400),
        ("0\r\nA: b\n\r\n", 400),
        ("0\r\nA: " + String(repeating: "b", count: 9000) + "\r\n\r\n", 431),
        ("0\r\n" + String(repeating: "A: b\r\n", count: 201) + "\r\n", 431),
    ]

    @Test(arguments: refused) func refuses(_ input: String, _ status: Int) {
        let whole = transcript(input)
        #expect(whole.count == 1)
        guard case .failure(status, _) = whole.first else {
            Issue.record("\(input.prefix(100)) gave \(whole)")
            return
        }
        #expect(transcript(input, step: 1) == whole)
    }

    @Test(arguments: brokenBodies) func refusesBody(_ body: String, _ status: Int) {
        let whole = transcript(Self.chunked + body)
        guard case .head = whole.first, case .failure(status, _) = whole.last else {
            Issue.record("\(body.prefix(100)) gave \(whole)")
            return
        }
        #expect(transcript(Self.chunked + body, step: 1) == whole)
        #expect(transcript(Self.chunked + body, step: 3) == whole)
    }

    @Test func limitsAreExact() {
        var limits = HTTPLimits()
        limits.requestLine = 16
        limits.headerBytes = 20
        #expect(transcript("GET /aa HTTP/1.0\r\n\r\n", limits: limits).count == 2)
        for step in [1, 2, 64] {
            let line = transcript("GET /aaa HTTP/1.0\r\n\r\n", step: step, limits: limits)
            #expect(line == [.failure(414, "The request line is too long.")])
            // 18 bytes of header and 2 for the empty line are allowed, one more is not.
            let fits = transcript(
                "GET / HTTP/1.0\r\nA: \(String(repeating: "b", count: 13))\r\n\r\n", step: step, limits: limits)
            #expect(fits.last == .end)
            let over = transcript(
                "GET / HTTP/1.0\r\nA: \(String(repeating: "b", count: 14))\r\n\r\n", step: step, limits: limits)
            #expect(over == [.failure(431, "The headers are too long.")])
        }
    }
}
