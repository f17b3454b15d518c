import Glibc
import HTTPServer
import Logging
import NIOCore
import NIOPosix

/// A listener on a free port with an application made of closures.
final class TestServer: Sendable {
    let listener: HTTPListener
    let application: TestApplication
    private let group: MultiThreadedEventLoopGroup

    init(
        _ configuration: HTTPConfiguration = HTTPConfiguration(),
        accept: @escaping @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler
    ) async throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        application = TestApplication(accept)
        listener = try await HTTPListener.bind(
            host: "127.0.0.1", port: 0, group: group, application: application, configuration: configuration,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ).get()
    }

    /// A server, for as long as `body` runs.
    static func run(
        _ configuration: HTTPConfiguration = HTTPConfiguration(),
        accept: @escaping @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try await TestServer(configuration, accept: accept)
        do {
            try await body(server)
        } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    func connect(receiveBuffer: Int32? = nil) throws -> TestClient {
        try TestClient(port: UInt16(listener.address.port ?? 0), receiveBuffer: receiveBuffer)
    }

    private func stop() async throws {
        try await listener.drain(within: .milliseconds(50)).get()
        try await group.shutdownGracefully()
    }
}

final class TestApplication: HTTPApplication {
    private let onAccept: @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler
    init(_ accept: @escaping @Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler) {
        onAccept = accept
    }

    func accept(_ head: RequestHead, exchange: HTTPExchange) -> any HTTPRequestHandler {
        onAccept(head, exchange)
    }

    /// The reason as text, and in a header the target, as far as it is known.
    func errorResponse(_ error: HTTPRequestError, head: RequestHead?) -> ErrorResponse {
        var headers = ResponseHeaders()
        if let head { headers.append("X-Refused", head.target) } else { headers.append("X-Refused", "unread") }
        return ErrorResponse(headers: headers, body: ByteBuffer(string: "\(error.reason)\n"))
    }

    /// Answers 200 with a text.
    static func answer(_ exchange: HTTPExchange, _ text: String) {
        exchange.respond(.ok, headers: ResponseHeaders(), body: ByteBuffer(string: text))
    }
}

/// Collects a body and calls back; everything optional.
final class TestHandler: HTTPRequestHandler {
    var received = ByteBuffer()
    var onBody: (TestHandler, ByteBuffer) -> Void = { $0.received.writeImmutableBuffer($1) }
    var onEnd: (TestHandler) -> Void = { _ in }
    var onWritable: (Bool) -> Void = { _ in }
    var onDisconnect: (DisconnectReason) -> Void = { _ in }

    func body(_ chunk: ByteBuffer) { onBody(self, chunk) }
    func bodyEnded() { onEnd(self) }
    func writabilityChanged(_ writable: Bool) { onWritable(writable) }
    func disconnected(_ reason: DisconnectReason) { onDisconnect(reason) }

    /// Answers 200 with the body that came.
    static func echo(_ exchange: HTTPExchange) -> TestHandler {
        let handler = TestHandler()
        handler.onEnd = { exchange.respond(.ok, headers: ResponseHeaders(), body: $0.received) }
        return handler
    }
}

/// A blocking socket that gives up after five seconds.
final class TestClient {
    private let socket: Int32

    init(port: UInt16, receiveBuffer: Int32? = nil) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer { setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        var timeout = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var one: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let done = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard done == 0 else { throw IOError(errnoCode: errno, reason: "connect") }
    }

    deinit { Glibc.close(socket) }

    /// Sends all bytes; false when the other side does not take them.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Sends `piece` again and again until the other side takes nothing for 300 ms; gives the bytes sent.
    func sendUntilFull(_ piece: [UInt8], limit: Int) -> Int {
        var sent = 0
        var poll = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
        while sent < limit, Glibc.poll(&poll, 1, 300) == 1 {
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            let count = piece.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, min($0.count, limit - sent), flags)
            }
            guard count > 0 else { return sent }
            sent += count
        }
        return sent
    }

    func finishSending() { shutdown(socket, Int32(SHUT_WR)) }

    /// What the next read gives, empty at the end, nil for an error or a timeout.
    func receive(atMost limit: Int = 65536) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = recv(socket, &bytes, limit, 0)
        return count < 0 ? nil : Array(bytes[..<count])
    }

    /// Everything until the server closes.
    func receiveAll() -> String {
        var all: [UInt8] = []
        while let next = receive(), !next.isEmpty { all += next }
        return String(decoding: all, as: UTF8.self)
    }

    /// Reads on until the text ends so.
    func receive(until end: String) -> String {
        var all: [UInt8] = []
        while !all.suffix(end.utf8.count).elementsEqual(end.utf8), let next = receive(), !next.isEmpty { all += next }
        return String(decoding: all, as: UTF8.self)
    }

    /// Whether the server has closed; waits for it.
    var isClosed: Bool {
        while let next = receive() { if next.isEmpty { return true } }
        return errno != EAGAIN
    }
}

/// Waits until something is so, at most five seconds.
func eventually(_ condition: () throws -> Bool) async throws {
    for _ in 0..<500 {
        if try condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw ChannelError.connectTimeout(.seconds(5))
}

extension String {
    /// How often `part` is in here.
    func components(of part: String) -> Int { split(separator: part, omittingEmptySubsequences: false).count - 1 }
}
