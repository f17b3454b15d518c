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
}
