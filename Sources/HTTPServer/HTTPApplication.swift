package import NIOCore

/// What answers requests. All calls come on the event loop of the connection and must not block it.
package protocol HTTPApplication: AnyObject, Sendable {
    /// A request has begun. The answer may be given here at once or any time later through `exchange`; the handler that
    /// is returned gets the body. Return `DiscardingRequestHandler.shared` when nothing more is to be heard.
    func accept(_ head: RequestHead, exchange: HTTPExchange) -> any HTTPRequestHandler

    /// Headers and body for a request that the server itself refuses (malformed, too large, too slow, too many
    /// connections). `head` is nil when it could not be read.
    func errorResponse(_ error: HTTPRequestError, head: RequestHead?) -> ErrorResponse
}

/// What is sent for a request that the server refuses, besides the status.
package struct ErrorResponse: Sendable {
    package var headers: ResponseHeaders
    package var body: ByteBuffer?

    package init(headers: ResponseHeaders, body: ByteBuffer?) {
        self.headers = headers
        self.body = body
    }
}

extension HTTPApplication {
    /// One line of plain text with the reason.
    package func errorResponse(_ error: HTTPRequestError, head: RequestHead?) -> ErrorResponse {
        var headers = ResponseHeaders(capacity: 64)
        headers.append("Content-Type", "text/plain")
        var body = ByteBuffer(staticString: error.reason)
        body.writeStaticString("\n")
        return ErrorResponse(headers: headers, body: body)
    }
}

/// Hears what happens to one request after its head. All calls come on the event loop; after `disconnected`, or once the
/// response is finished or aborted, there are no more.
package protocol HTTPRequestHandler: AnyObject {
    /// A piece of the body, never empty. The bytes belong to the connection's receive buffer: keep small pieces for long
    /// only as copies.
    func body(_ chunk: ByteBuffer)
    /// The body is complete. Comes exactly once for every request that is not cut off, also for one without a body.
    func bodyEnded()
    /// The client has fallen behind (false: pause what feeds `write`), or has caught up (true). False may come from
    /// within `HTTPExchange.write`.
    func writabilityChanged(_ writable: Bool)
    /// The request is over before it was answered: nothing written to the exchange arrives any more.
    func disconnected(_ reason: DisconnectReason)
}

/// Why a request ended before it was answered.
package enum DisconnectReason: Sendable, Equatable {
    /// The client closed or reset the connection, or the network did.
    case closed
    /// The body broke the rules; the client got an answer if none had begun.
    case malformed(HTTPRequestError)
    /// The body made no progress.
    case bodyTimeout
    /// The client did not read the response.
    case writeStalled
    /// The server is shutting down and the deadline has passed.
    case shutdown
}

/// Ignores everything: for requests that are answered at once.
package final class DiscardingRequestHandler: HTTPRequestHandler, Sendable {
    package static let shared = DiscardingRequestHandler()

    package func body(_ chunk: ByteBuffer) {}
    package func bodyEnded() {}
    package func writabilityChanged(_ writable: Bool) {}
    package func disconnected(_ reason: DisconnectReason) {}
}
