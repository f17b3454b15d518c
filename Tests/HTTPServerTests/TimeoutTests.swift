import HTTPServer
import NIOCore
import Synchronization
import Testing

/// Clients that are slow or silent, and shutdown.
@Suite struct TimeoutTests {
    static var quick: HTTPConfiguration {
        var configuration = HTTPConfiguration()
        configuration.sweepInterval = .milliseconds(20)
        configuration.headTimeout = .milliseconds(150)
        configuration.idleTimeout = .milliseconds(300)
        configuration.bodyTimeout = .milliseconds(150)
        configuration.writeTimeout = .milliseconds(200)
        configuration.drainTimeout = .milliseconds(100)
        return configuration
    }

    @Test func slowHeadsEnd() async throws {
        try await TestServer.run(Self.quick, accept: ConnectionTests.hello) { server in
            let client = try server.connect()
            let start = ContinuousClock.now
            for byte in "GET / HTTP/1.1\r\nHost: a\r\nX: never to be finished".utf8 {
                guard client.send([byte]) else { break }
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(client.receiveAll().hasPrefix("HTTP/1.1 408 Request Timeout\r\n"))
            #expect(ContinuousClock.now - start < .seconds(20))
        }
    }

    @Test func silentConnectionsEnd() async throws {
        try await TestServer.run(Self.quick, accept: ConnectionTests.hello) { server in
            let client = try server.connect()
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(client.receive(until: "hello").hasSuffix("hello"))
            #expect(client.receive() == [])
        }
    }

    @Test func silentBodiesEnd() async throws {
        let reasons = Mutex<[DisconnectReason]>([])
        try await TestServer.run(
            Self.quick,
            accept: { _, exchange in
                let handler = TestHandler.echo(exchange)
                handler.onDisconnect = { reason in reasons.withLock { $0.append(reason) } }
                return handler
            }
        ) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
            let answer = client.receiveAll()
            #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("Connection: close\r\n"))
            #expect(reasons.withLock { $0 } == [.bodyTimeout])
        }
    }

    @Test func slowBodiesEnd() async throws {
        var configuration = Self.quick
        configuration.bodyMinimum = 1000
        try await TestServer.run(configuration, accept: BodyFlowTests.echo) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
            for _ in 0..<100 {
                guard server.listener.connectionCount == 1, client.send([1]) else { break }
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(client.receiveAll().hasPrefix("HTTP/1.1 408 "))
        }
    }

    @Test func slowAnswersAndPausedBodiesDoNot() async throws {
        try await TestServer.run(
            Self.quick,
            accept: { _, exchange in
                exchange.pauseBody()
                exchange.eventLoop.scheduleTask(in: .milliseconds(500)) { exchange.resumeBody() }
                let handler = TestHandler()
                handler.onEnd = { _ in
                    exchange.eventLoop.scheduleTask(in: .milliseconds(500)) { TestApplication.answer(exchange, "late") }
                }
                return handler
            }
        ) { server in
            let client = try server.connect()
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            #expect(client.receive(until: "late").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
    }

    @Test func clientsThatDoNotReadEnd() async throws {
        let reasons = Mutex<[DisconnectReason]>([])
        let written = Atomic<Int>(0)
        try await TestServer.run(
            Self.quick,
            accept: { _, exchange in
                let piece = ByteBuffer(repeating: 7, count: 64 * 1024)
                let pour: @Sendable () -> Void = {
                    while exchange.isWritable {
                        exchange.write(piece)
                        written.wrappingAdd(piece.readableBytes, ordering: .relaxed)
                    }
                }
                exchange.start(.ok, headers: ResponseHeaders(), contentLength: 1 << 40)
                let handler = TestHandler()
                handler.onWritable = { if $0 { pour() } }
                handler.onDisconnect = { reason in reasons.withLock { $0.append(reason) } }
                exchange.eventLoop.execute(pour)
                return handler
            }
        ) { server in
            let client = try server.connect(receiveBuffer: 65536)
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await eventually { reasons.withLock { $0 } == [.writeStalled] }
            #expect(written.load(ordering: .relaxed) < 32 << 20)
        }
    }

    @Test func clientsThatOnlySendDoNotFillTheMemory() async throws {
        let accepted = Atomic<Int>(0)
        let body = ByteBuffer(repeating: 7, count: 1 << 20)
        try await TestServer.run(
            Self.quick,
            accept: { _, exchange in
                accepted.wrappingAdd(1, ordering: .relaxed)
                exchange.respond(.ok, headers: ResponseHeaders(), body: body)
                return DiscardingRequestHandler.shared
            }
        ) { server in
            let client = try server.connect(receiveBuffer: 65536)
            client.send(String(repeating: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", count: 500))
            try await eventually { server.listener.connectionCount == 0 }
            #expect(accepted.load(ordering: .relaxed) < 32)
        }
    }

    @Test func drainsGracefully() async throws {
        let held = Mutex<HTTPExchange?>(nil)
        try await TestServer.run(accept: { head, exchange in
            if head.target.elementsEqual("/held".utf8) {
                held.withLock { $0 = exchange }
                return DiscardingRequestHandler.shared
            }
            return ConnectionTests.hello(head, exchange)
        }) { server in
            let idle = try server.connect()
            idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(idle.receive(until: "hello").hasSuffix("hello"))
            let busy = try server.connect()
            busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            try await eventually { held.withLock { $0 != nil } }

            let drained = server.listener.drain(within: .seconds(10))
            #expect(idle.receive() == [])
            try await Task.sleep(for: .milliseconds(50))
            #expect(throws: (any Error).self) { try server.connect() }
            let exchange = try #require(held.withLock { $0 })
            exchange.eventLoop.execute { TestApplication.answer(exchange, "last") }
            let answer = busy.receiveAll()
            #expect(answer.contains("Connection: close\r\n") && answer.hasSuffix("last"))
            try await drained.get()
            #expect(server.listener.connectionCount == 0)
        }
    }

    /// Between a connection and its first request a shutdown takes nothing from the client.
    @Test func aClientThatHasJustConnectedIsStillServed() async throws {
        try await TestServer.run(accept: ConnectionTests.hello) { server in
            let fresh = try server.connect()
            let silent = try server.connect()
            try await eventually { server.listener.connectionCount == 2 }
            let drained = server.listener.drain(within: .seconds(10))
            try await Task.sleep(for: .milliseconds(50))
            fresh.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = fresh.receiveAll()
            #expect(answer.contains("Connection: close\r\n") && answer.hasSuffix("hello"))
            // Who then sends nothing holds the shutdown up no longer than that.
            try await drained.get()
            #expect(silent.isClosed)
        }
    }

    @Test func cutsAtTheDeadline() async throws {
        let reasons = Mutex<[DisconnectReason]>([])
        try await TestServer.run(accept: { _, exchange in
            let handler = TestHandler()
            handler.onDisconnect = { reason in reasons.withLock { $0.append(reason) } }
            return handler
        }) { server in
            let client = try server.connect()
            client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            try await eventually { server.listener.connectionCount == 1 }
            try await Task.sleep(for: .milliseconds(20))
            try await server.listener.drain(within: .milliseconds(100)).get()
            #expect(client.isClosed)
            #expect(reasons.withLock { $0 } == [.shutdown])
        }
    }
}
