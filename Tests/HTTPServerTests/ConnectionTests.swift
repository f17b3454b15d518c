import HTTPServer
import NIOCore
import Synchronization
import Testing

@Suite struct ConnectionTests {
    static let hello: @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler = { _, exchange in
        var headers = ResponseHeaders()
        headers.append("Content-Type", "text/plain")
        exchange.respond(.ok, headers: headers, body: ByteBuffer(string: "hello"))
        return DiscardingRequestHandler.shared
    }

    @Test func keepsTheConnection() async throws {
        try await TestServer.run(accept: Self.hello) { server in
            let client = try server.connect()
            for _ in 0..<3 {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                let answer = client.receive(until: "hello")
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: "))
                #expect(answer.contains("\r\nContent-Length: 5\r\n\r\nhello"))
                #expect(!answer.contains("Connection:"))
            }
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n")
            #expect(client.receiveAll().contains("\r\nConnection: close\r\n"))
        }
    }

    @Test func answersPipelinedRequestsInOrder() async throws {
        // The first answer is given later: the second request must not be accepted before.
        let held = Mutex<HTTPExchange?>(nil)
        let paths = Mutex<[String]>([])
        try await TestServer.run(accept: { head, exchange in
            let path = String(decoding: head.target, as: UTF8.self)
            paths.withLock { $0.append(path) }
            if path == "/1" { held.withLock { $0 = exchange } } else { TestApplication.answer(exchange, path) }
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            client.send((1...5).map { "GET /\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined())
            try await eventually { held.withLock { $0 != nil } }
            try await Task.sleep(for: .milliseconds(50))
            #expect(paths.withLock { $0 } == ["/1"])
            let exchange = try #require(held.withLock { $0 })
            exchange.eventLoop.execute { TestApplication.answer(exchange, "/1") }
            let answers = client.receive(until: "/5")
            #expect(answers.split(separator: "\r\n\r\n").count == 6)
            #expect(paths.withLock { $0 } == (1...5).map { "/\($0)" })
        }
    }

    @Test func answersHeadWithoutBody() async throws {
        try await TestServer.run(accept: Self.hello) { server in
            let client = try server.connect()
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            let answers = client.receiveAll()
            #expect(answers.components(of: "Content-Length: 5\r\n") == 2)
            #expect(!answers.contains("hello") && answers.hasSuffix("\r\n\r\n"))
        }
    }

    @Test func speaksTheOldVersion() async throws {
        try await TestServer.run(accept: { head, exchange in
            guard head.target.elementsEqual("/stream".utf8) else { return Self.hello(head, exchange) }
            exchange.start(.ok, headers: ResponseHeaders(), contentLength: nil)
            exchange.write(ByteBuffer(string: "no length"))
            exchange.finish()
            return DiscardingRequestHandler.shared
        }) { server in
            let once = try server.connect()
            once.send("GET / HTTP/1.0\r\n\r\n")
            #expect(once.receiveAll().contains("Connection: close\r\n"))
            let kept = try server.connect()
            for _ in 0..<2 {
                kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                #expect(kept.receive(until: "hello").contains("Connection: keep-alive\r\n"))
            }
            kept.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            let streamed = kept.receiveAll()
            #expect(streamed.contains("Connection: close\r\n") && streamed.hasSuffix("\r\n\r\nno length"))
            #expect(!streamed.contains("chunked"))
        }
    }

    @Test func streamsInChunks() async throws {
        try await TestServer.run(accept: { _, exchange in
            exchange.start(.ok, headers: ResponseHeaders(), contentLength: nil)
            exchange.write(ByteBuffer(string: "hello"))
            exchange.write(ByteBuffer())
            exchange.write(ByteBuffer(repeating: UInt8(ascii: "x"), count: 300))
            exchange.finish()
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            for _ in 0..<2 {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                let answer = client.receive(until: "\r\n0\r\n\r\n")
                #expect(answer.contains("Transfer-Encoding: chunked\r\n"))
                #expect(!answer.contains("Content-Length"))
                #expect(
                    answer.hasSuffix("\r\n\r\n5\r\nhello\r\n12c\r\n\(String(repeating: "x", count: 300))\r\n0\r\n\r\n"))
            }
        }
    }

    @Test func cutsResponsesOfTheWrongLength() async throws {
        try await TestServer.run(accept: { head, exchange in
            exchange.start(.ok, headers: ResponseHeaders(), contentLength: 5)
            exchange.write(ByteBuffer(string: head.target.elementsEqual("/long".utf8) ? "hello!" : "hell"))
            exchange.finish()
            return DiscardingRequestHandler.shared
        }) { server in
            for (target, body) in [("/long", "\r\n\r\n"), ("/short", "\r\n\r\nhell")] {
                let client = try server.connect()
                client.send("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(client.receiveAll().hasSuffix(body))
            }
        }
    }

    @Test func abortsTruncate() async throws {
        try await TestServer.run(accept: { head, exchange in
            exchange.start(.ok, headers: ResponseHeaders(), contentLength: head.minorVersion == 0 ? nil : 100)
            exchange.write(ByteBuffer(string: "some"))
            exchange.eventLoop.scheduleTask(in: .milliseconds(50)) { exchange.abort() }
            return DiscardingRequestHandler.shared
        }) { server in
            let sized = try server.connect()
            sized.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(sized.receiveAll().hasSuffix("some"))
            // Without a length, a reset is the only thing that tells.
            let unsized = try server.connect()
            unsized.send("GET / HTTP/1.0\r\n\r\n")
            #expect(unsized.receive(until: "some").hasSuffix("some"))
            #expect(unsized.receive() == nil)
        }
    }

    @Test func servesAClientThatHalfCloses() async throws {
        let body = ByteBuffer(repeating: UInt8(ascii: "x"), count: 8 << 20)
        try await TestServer.run(accept: { _, exchange in
            exchange.eventLoop.scheduleTask(in: .milliseconds(30)) {
                exchange.respond(.ok, headers: ResponseHeaders(), body: body)
            }
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.finishSending()
            #expect(client.receiveAll().utf8.count > 8 << 20)
        }
    }

    @Test func keepsValuesInTheirLine() async throws {
        try await TestServer.run(accept: { head, exchange in
            var headers = ResponseHeaders()
            headers.append("X-One", "a\r\nSet-Cookie: b\u{0}c\nd")
            headers.append("X-Two", ByteBuffer(string: "e\r\n\r\n<html>"))
            let (name, bad, value) = (Array("X-Three".utf8), Array("X: y\r\nX-Four".utf8), Array("f\rg".utf8))
            _ = name.withUnsafeBytes { name in value.withUnsafeBytes { headers.append(name: name, value: $0) } }
            let added = bad.withUnsafeBytes { bad in value.withUnsafeBytes { headers.append(name: bad, value: $0) } }
            headers.append("X-Added", added ? "yes" : "no")
            exchange.respond(.noContent, headers: headers)
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            let answer = client.receiveAll()
            #expect(
                answer.hasPrefix(
                    "HTTP/1.1 204 No Content\r\nX-One: a  Set-Cookie: b c d\r\nX-Two: e    <html>\r\nX-Three: f g\r\nX-Added: no\r\n"
                ))
            #expect(!answer.contains("Content-Length"))
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: a\n\n", 400), ("BAD\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1\r\n", 414),
        ("GET / HTTP/1.1\r\n\(String(repeating: "a: b\r\n", count: 300))\r\n", 431),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ]) func refusesAndGoesOn(_ input: String, _ status: Int) async throws {
        let reasons = Mutex<[DisconnectReason]>([])
        try await TestServer.run(accept: { head, exchange in
            let handler = TestHandler.echo(exchange)
            handler.onDisconnect = { reason in reasons.withLock { $0.append(reason) } }
            return handler
        }) { server in
            let other = try server.connect()
            let client = try server.connect()
            client.send(input)
            let answer = client.receiveAll()
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(answer.contains("\r\nConnection: close\r\n") && answer.hasSuffix(".\n"))
            #expect(answer.contains("\r\nX-Refused: \(input.contains("zz") ? "/" : "unread")\r\n"))
            other.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            #expect(other.receiveAll().hasPrefix("HTTP/1.1 200 OK"))
        }
        #expect(reasons.withLock { $0.count } == (input.contains("zz") ? 1 : 0))
    }

    @Test func refusesConnectionsPastTheLimit() async throws {
        var configuration = HTTPConfiguration()
        configuration.connections = 2
        try await TestServer.run(configuration, accept: Self.hello) { server in
            let kept = try (0..<2).map { _ in try server.connect() }
            for client in kept {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(client.receive(until: "hello").hasPrefix("HTTP/1.1 200"))
            }
            let refused = try server.connect().receiveAll()
            #expect(
                refused.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n") && refused.contains("Connection: close\r\n"))
            kept[0].send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            #expect(kept[0].receiveAll().hasSuffix("hello"))
            try await eventually { server.listener.connectionCount == 1 }
            let next = try server.connect()
            next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(next.receive(until: "hello").hasPrefix("HTTP/1.1 200"))
        }
    }
}
