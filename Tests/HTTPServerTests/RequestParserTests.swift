import HTTPServer
import NIOCore
import Testing

/// Events for good requests, and that the way bytes are cut changes nothing.
@Suite struct RequestParserTests {
    struct Transcript: Sendable {
        let input: String
        let said: [String]
    }

    static let transcripts: [Transcript] = [
        Transcript(
            input: "GET /v1/a/c/o?x=1 HTTP/1.1\r\nHost: h\r\nX-Auth-Token:  t \t\r\n\r\n",
            said: ["head(GET /v1/a/c/o?x=1 1.1 Host=h X-Auth-Token=t)", "end"]),
        Transcript(
            input: "PUT /o HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
            said: ["head(PUT /o 1.1 Host=h Content-Length=5)", "body(hello)", "end", "head(GET / 1.0)", "end"]),
        Transcript(
            input: "PUT /o HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
                + "5\r\nhello\r\n00A;n=\"v\"\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n",
            said: ["head(PUT /o 1.1 Host=h Transfer-Encoding=Chunked)", "body(hello0123456789)", "end"]),
        Transcript(
            input: "\r\nOPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
            said: ["head(OPTIONS * 1.1 Host=)", "end"]),
        Transcript(
            input: "GET http://h:80/p HTTP/1.1\r\nHost: h\r\n\r\n",
            said: ["head(GET http://h:80/p 1.1 Host=h)", "end"]),
        Transcript(
            input: "COPY /c/ä HTTP/1.1\r\nHost: h\r\nX-Object-Meta-Ü: ü\r\n\r\n",
            said: ["failure(400, The name of a header is malformed.)"]),
        Transcript(
            input: "COPY /c/ä HTTP/1.1\r\nHost: h\r\nX-Object-Meta-U: ü ö\r\nEmpty:\r\n\r\n",
            said: ["head(COPY /c/ä 1.1 Host=h X-Object-Meta-U=ü ö Empty=)", "end"]),
        Transcript(
            input: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            said: ["head(POST / 1.1 Host=h Content-Length=3 Content-Length=3)", "body(abc)", "end"]),
        Transcript(
            input: "DELETE / HTTP/1.7\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            said: ["head(DELETE / 1.1 Host=h Content-Length=0)", "end"]),
        Transcript(input: "GET / HTTP/1.1\r\nHost: h\r\n", said: []),
    ]

    @Test(arguments: transcripts) func reads(_ transcript: Transcript) {
        let whole = HTTPServerTests.transcript(transcript.input)
        #expect(whole.map(\.description) == transcript.said)
        for step in 1...7 {
            #expect(HTTPServerTests.transcript(transcript.input, step: step) == whole)
        }
    }

    @Test func findsHeaders() throws {
        let head = try #require(
            parsed(
                "GET /a HTTP/1.1\r\nhOST: h\r\nx-auth-token: one\r\nX-Auth-Token: two\r\nX-Object-Meta-Color: red\r\n"
                    + "If-None-Match: *\r\nContent-Length: 12\r\n\r\n"))
        #expect(head.method == .get)
        #expect(head.fieldCount == 6)
        #expect(head.string(.host) == "h")
        #expect(head.string(.authToken) == "one")
        #expect(head.first(.ifNoneMatch)?.elementsEqual("*".utf8) == true)
        #expect(head.contains(.contentLength) && !head.contains(.transferEncoding))
        #expect(head.contentLength == 12)
        #expect(head.first(.range) == nil)
        #expect(head.string("x-object-meta-COLOR") == "red")
        #expect(head.string("x-object-meta-colour") == nil)
        #expect(head.withFirst(.authToken) { $0?.count } == 3)
        #expect(String(decoding: head.field(at: 3).value, as: UTF8.self) == "red")
        #expect(head.hasBody && head.isKeepAlive && !head.expectsContinue)
    }

    @Test(arguments: KnownHeader.allCases) func recognises(_ header: KnownHeader) throws {
        let isFraming = [.host, .contentLength, .transferEncoding, .expect].contains(header)
        guard !isFraming else { return }
        for name in [header.name.description, header.name.description.uppercased()] {
            let head = try #require(parsed("GET / HTTP/1.1\r\nHost: h\r\n\(name): v\r\n\(name)x: w\r\n\r\n"))
            #expect(head.string(header) == "v")
            #expect(KnownHeader.allCases.filter { head.contains($0) }.count == 2)
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true), ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, CLOSE\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: te\r\nConnection: close \r\n\r\n", false),
    ]) func keepsAlive(_ input: String, _ expected: Bool) throws {
        #expect(try #require(parsed(input)).isKeepAlive == expected)
    }

    @Test func expectsContinueOnlyWithABody() throws {
        let expect = "Host: h\r\nExpect: 100-Continue\r\n"
        #expect(try #require(parsed("PUT / HTTP/1.1\r\n\(expect)Content-Length: 1\r\n\r\n")).expectsContinue)
        #expect(try #require(parsed("PUT / HTTP/1.1\r\n\(expect)Transfer-Encoding: chunked\r\n\r\n")).expectsContinue)
        #expect(try !#require(parsed("PUT / HTTP/1.1\r\n\(expect)Content-Length: 0\r\n\r\n")).expectsContinue)
        #expect(try !#require(parsed("PUT / HTTP/1.0\r\n\(expect)Content-Length: 1\r\n\r\n")).expectsContinue)
    }

    @Test(arguments: [
        ("http://h/p?q", "/p?q"), ("HTTPS://h", ""), ("http://h?q", "?q"), ("/a//b/%2F/../", "/a//b/%2F/../"),
    ]) func givesThePath(_ target: String, _ path: String) throws {
        let head = try #require(parsed("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n"))
        #expect(String(decoding: head.pathAndQuery, as: UTF8.self) == path)
        #expect(String(decoding: head.target, as: UTF8.self) == target)
    }

    @Test func waitsForTheNextRequest() {
        var parser = HTTPRequestParser()
        parser.feed(ByteBuffer(string: "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n"))
        #expect(parser.next() != nil && parser.next() != nil && parser.next() == nil)
        #expect(parser.bufferedBytes == 19 && !parser.isInsideHead)
        parser.startNextRequest()
        #expect(parser.isInsideHead && parser.next() != nil)
        #expect(parser.bufferedBytes == 0)
    }

    @Test func bodiesAreSlices() throws {
        var parser = HTTPRequestParser()
        parser.feed(ByteBuffer(string: "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"))
        let piece = ByteBuffer(repeating: 1, count: 100_000)
        _ = parser.next()
        parser.feed(piece)
        guard case .body(let chunk) = parser.next() else {
            Issue.record("no body")
            return
        }
        let addresses = [piece, chunk].map { $0.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } }
        #expect(addresses[0] == addresses[1])
    }

    private func parsed(_ input: String) -> RequestHead? {
        var parser = HTTPRequestParser()
        parser.feed(ByteBuffer(string: input))
        guard case .head(let head) = parser.next() else { return nil }
        return head
    }
}
