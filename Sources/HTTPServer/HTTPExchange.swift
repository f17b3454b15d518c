package import NIOCore

/// One request and its response on one connection.
///
/// Bound to `eventLoop`: the reference may travel, but every call must be made on that loop (checked in debug builds),
/// hence the unchecked conformance. Calls after the response is finished or the client is gone do nothing.
package final class HTTPExchange: @unchecked Sendable {
    /// The loop on which everything about this request happens.
    package let eventLoop: any EventLoop
    /// The number of the connection, unique per listener; several requests of a connection share it.
    package let connectionID: UInt64
    /// For buffers that are written to this exchange.
    package let allocator: ByteBufferAllocator
    /// Nil once the response is finished or the client is gone.
    private(set) var connection: HTTPConnection?

    init(connection: HTTPConnection, connectionID: UInt64, eventLoop: any EventLoop, allocator: ByteBufferAllocator) {
        self.connection = connection
        self.connectionID = connectionID
        self.eventLoop = eventLoop
        self.allocator = allocator
    }

    /// The client's address; nil when the connection is gone.
    package var remoteAddress: SocketAddress? { active?.remoteAddress }

    /// False once the response is finished or the client is gone.
    package var isActive: Bool { active != nil }

    /// Whether the client keeps up. Writing while false is allowed, but then memory grows by what is written.
    package var isWritable: Bool { active?.isWritable ?? false }

    /// Stops the flow of the body: no more reads from the socket, no calls of `body` after the current one.
    package func pauseBody() { active?.pauseBody() }

    /// Lets the body flow again. Sends 100 (Continue) first when the client waits for it.
    package func resumeBody() { active?.resumeBody() }

    /// Tells a client that waits for it to send the body. Done without asking when `accept` returns and has neither
    /// answered nor paused the body; so pause there to decide later, then call this or `resumeBody`, or answer.
    package func sendContinue() { active?.sendContinue() }

    /// Sends a whole response in one write. For HEAD the length of `body` is told and the bytes are left out.
    package func respond(_ status: HTTPStatus, headers: ResponseHeaders, body: ByteBuffer? = nil) {
        active?.respond(status, headers: headers, body: body)
    }

    /// Begins a response whose body comes in pieces. Without a length it is sent in chunks, or up to the end of the
    /// connection to a 1.0 client. For HEAD call `finish` next. Leaves with the first `write` or at the end of the turn.
    package func start(_ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?) {
        active?.start(status, headers: headers, contentLength: contentLength)
    }

    /// Sends a piece of the body. More than the length that was told cuts the connection.
    package func write(_ bytes: ByteBuffer) { active?.write(bytes) }

    /// Ends the response. Less than the length that was told cuts the connection.
    package func finish() { active?.finish() }

    /// Cuts the connection, so that the client sees a truncated response and cannot take it for a whole one.
    package func abort() { active?.abort() }

    func detach() { connection = nil }

    private var active: HTTPConnection? {
        eventLoop.assertInEventLoop()
        return connection
    }
}
