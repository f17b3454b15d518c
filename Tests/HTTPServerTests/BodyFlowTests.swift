import HTTPServer
import NIOCore
import Synchronization
import Testing

/// Request bodies: 100 (Continue), chunks, back-pressure, early answers.
@Suite struct BodyFlowTests {
    static let echo: @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler = { TestHandler.echo($1) }

    @Test func readsChunkedUploads() async throws {
        try await TestServer.run(accept: Self.echo) { server in
            let client = try server.connect()
            for _ in 0..<2 {
                client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
                client.send("lo\r\n6\r\n world\r\n0\r\n\r\n")
                #expect(client.receive(until: "hello world").hasPrefix("HTTP/1.1 200 OK\r\n"))
            }
        }
    }

    @Test func readsLargeUploads() async throws {
        let size = 5 << 20
        try await TestServer.run(accept: { _, exchange in
            let handler = TestHandler()
            let sum = Sum()
            handler.onBody = { _, chunk in sum.add(chunk) }
            handler.onEnd = { _ in TestApplication.answer(exchange, "\(sum.bytes) \(sum.total).") }
            return handler
        }) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
            client.send((0..<size).map { UInt8(truncatingIfNeeded: $0) })
            #expect(client.receive(until: ".").hasSuffix("\r\n\r\n\(size) \(size / 256 * 32640)."))
        }
    }

    @Test func continuesUnaskedWhenTheHandlerWaits() async throws {
        try await TestServer.run(accept: Self.echo) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            #expect(client.receive(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
            client.send("hello")
            #expect(client.receive(until: "hello").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
    }

    @Test func continuesWhenThePauseEnds() async throws {
        let held = Mutex<HTTPExchange?>(nil)
        try await TestServer.run(accept: { _, exchange in
            exchange.pauseBody()
            held.withLock { $0 = exchange }
            return TestHandler.echo(exchange)
        }) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            try await eventually { held.withLock { $0 != nil } }
            try await Task.sleep(for: .milliseconds(50))
            let exchange = try #require(held.withLock { $0 })
            exchange.eventLoop.execute { exchange.resumeBody() }
            #expect(client.receive(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
            client.send("hello")
            #expect(client.receive(until: "hello").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
    }

    @Test func refusesInsteadOfContinuing() async throws {
        try await TestServer.run(accept: { _, exchange in
            exchange.respond(.contentTooLarge, headers: ResponseHeaders())
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            client.finishSending()
            let answer = client.receiveAll()
            #expect(answer.hasPrefix("HTTP/1.1 413 ") && answer.contains("\r\nConnection: close\r\n"))
        }
    }

    @Test func pausedBodiesStayInTheSocket() async throws {
        let received = Atomic<Int>(0)
        let held = Mutex<HTTPExchange?>(nil)
        let size = 64 << 20
        try await TestServer.run(accept: { _, exchange in
            let handler = TestHandler()
            handler.onBody = { _, chunk in
                if received.wrappingAdd(chunk.readableBytes, ordering: .relaxed).oldValue == 0 {
                    exchange.pauseBody()
                    held.withLock { $0 = exchange }
                }
            }
            handler.onEnd = { _ in TestApplication.answer(exchange, "done") }
            return handler
        }) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
            let piece = [UInt8](repeating: 7, count: 1 << 20)
            let taken = client.sendUntilFull(piece, limit: size)
            // The kernel's buffers and one turn of reads take some; the rest waits at the client.
            #expect(taken < size / 2)
            let first = received.load(ordering: .relaxed)
            #expect(first > 0 && first <= 256 * 1024)
            let exchange = try #require(held.withLock { $0 })
            exchange.eventLoop.execute { exchange.resumeBody() }
            var rest = size - taken
            while rest > 0 {
                client.send(Array(piece.prefix(rest)))
                rest -= piece.prefix(rest).count
            }
            #expect(client.receive(until: "done").hasSuffix("done"))
            #expect(received.load(ordering: .relaxed) == size)
        }
    }

    @Test func drainsWhatAnEarlyAnswerLeaves() async throws {
        try await TestServer.run(accept: { head, exchange in
            TestApplication.answer(exchange, String(decoding: head.target, as: UTF8.self))
            return DiscardingRequestHandler.shared
        }) { server in
            let client = try server.connect()
            client.send("PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            #expect(!client.receive(until: "/1").contains("close"))
            client.send([UInt8](repeating: 7, count: 100_000))
            client.send("PUT /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            #expect(client.receive(until: "/2").hasPrefix("HTTP/1.1 200 OK\r\n"))
            client.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(client.receive(until: "/3").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
    }

    @Test func closesWhenAnEarlyAnswerLeavesTooMuch() async throws {
        try await TestServer.run(accept: { head, exchange in
            TestApplication.answer(exchange, "early")
            return DiscardingRequestHandler.shared
        }) { server in
            let sized = try server.connect()
            sized.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
            // Some of the body is already under way when the answer arrives: it must not be lost in a reset.
            sized.send([UInt8](repeating: 7, count: 500_000))
            let answer = sized.receive(until: "early")
            #expect(answer.contains("Connection: close\r\n") && answer.hasSuffix("early"))
            #expect(sized.receive() == [])
            sized.send([UInt8](repeating: 7, count: 4 << 20))
            #expect(!sized.send([UInt8](repeating: 7, count: 4 << 20)))

            let chunked = try server.connect()
            chunked.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            #expect(chunked.receive(until: "early").hasSuffix("early"))
            let chunk = Array("100000\r\n".utf8) + [UInt8](repeating: 7, count: 1 << 20) + Array("\r\n".utf8)
            var sent = 0
            while sent < 32, chunked.send(chunk) { sent += 1 }
            #expect(sent < 32)
        }
    }

    @Test func tellsTheHandlerThatTheClientLeft() async throws {
        let reasons = Mutex<[DisconnectReason]>([])
        try await TestServer.run(accept: { _, exchange in
            let handler = TestHandler.echo(exchange)
            handler.onDisconnect = { reason in reasons.withLock { $0.append(reason) } }
            return handler
        }) { server in
            do {
                let client = try server.connect()
                client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
                try await Task.sleep(for: .milliseconds(20))
            }
            try await eventually { reasons.withLock { $0 } == [.closed] }
            try await eventually { server.listener.connectionCount == 0 }
        }
    }
}

/// Counts and adds bytes.
private final class Sum {
    var bytes = 0
    var total = 0

    func add(_ chunk: ByteBuffer) {
        bytes += chunk.readableBytes
        chunk.withUnsafeReadableBytes { for byte in $0 { total += Int(byte) } }
    }
}
