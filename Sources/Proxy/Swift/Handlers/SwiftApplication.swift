import Access
package import HTTPServer
package import NIOCore
import StorageWire

/// The Swift API behind a listener: takes each request to its handler.
///
/// The order of what happens to every request: transaction id, path, public endpoints, identity and rights, operation.
package final class SwiftApplication: HTTPApplication {
    private let api: SwiftAPI
    private let loops: [ObjectIdentifier: NIOLoopBound<ProxyLoop>]
    /// Answers paths outside the API (`/metrics`); `nil` for those that it does not know.
    private let publicPage: @Sendable (_ path: String) -> (contentType: StaticString, body: [UInt8])?
    /// Takes requests for `internalPath` and below, which is no account: what nodes ask of each other before they share a key.
    private let internalHandler: (@Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler)?

    /// Where requests go to `internalHandler`.
    package static let internalPath = Array("/ringfort/".utf8)

    package init(
        api: SwiftAPI, loops: [(any EventLoop, NIOLoopBound<ProxyLoop>)],
        internalHandler: (@Sendable (RequestHead, HTTPExchange) -> any HTTPRequestHandler)? = nil,
        publicPage: @escaping @Sendable (_ path: String) -> (contentType: StaticString, body: [UInt8])?
    ) {
        self.api = api
        self.loops = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.0), $0.1) })
        self.publicPage = publicPage
        self.internalHandler = internalHandler
    }

    package func accept(_ head: RequestHead, exchange: HTTPExchange) -> any HTTPRequestHandler {
        guard let loop = loops[ObjectIdentifier(exchange.eventLoop)]?.value else {
            exchange.respond(.internalServerError, headers: ResponseHeaders(capacity: 0))
            return DiscardingRequestHandler.shared
        }
        if let internalHandler, head.withPathAndQuery({ $0.starts(with: Self.internalPath) }) {
            return internalHandler(head, exchange)
        }
        let transactionID = api.transactionID(extra: head.value(of: "x-trans-id-extra"))
        do throws(SwiftError) {
            let endpoint = try SwiftPath.parse(head.pathAndQuery, constraints: api.constraints)
            let request = make(endpoint, loop, head, exchange, transactionID)
            begin(request)
            return request
        } catch {
            let request = SwiftRequest(
                api: api, loop: loop, head: head, exchange: exchange, transactionID: transactionID, endpoint: .info)
            if let page = publicPage(String(decoding: head.pathAndQuery, as: UTF8.self)) {
                var headers = request.headers()
                headers.append("Content-Type", page.contentType)
                request.respond(.ok, headers, body: ByteBuffer(bytes: page.body))
            } else {
                request.fail(error)
            }
            return request
        }
    }

    package func errorResponse(_ error: HTTPRequestError, head: RequestHead?) -> ErrorResponse {
        let transactionID = api.transactionID(extra: nil)
        var headers = ResponseHeaders()
        headers.append("X-Trans-Id", bytes: transactionID)
        headers.append("X-Openstack-Request-Id", bytes: transactionID)
        headers.append("Content-Type", "text/plain; charset=UTF-8")
        return ErrorResponse(headers: headers, body: ByteBuffer(string: error.reason.description + "\n"))
    }

    private func make(
        _ endpoint: SwiftEndpoint, _ loop: ProxyLoop, _ head: RequestHead, _ exchange: HTTPExchange,
        _ transactionID: [UInt8]
    ) -> SwiftRequest {
        func request<Request: SwiftRequest>(_ type: Request.Type) -> SwiftRequest {
            Request(
                api: api, loop: loop, head: head, exchange: exchange, transactionID: transactionID, endpoint: endpoint)
        }
        return switch (endpoint, head.method) {
        case (.info, _), (.healthcheck, _), (.auth, _): request(PublicRequest.self)
        case (_, .options): request(OptionsRequest.self)
        case (.account, .get), (.account, .head): request(AccountRead.self)
        case (.account, .put), (.account, .post): request(AccountWrite.self)
        case (.account, .delete): request(AccountDelete.self)
        case (.container, .get), (.container, .head): request(ContainerRead.self)
        case (.container, .put), (.container, .post): request(ContainerWrite.self)
        case (.container, .delete): request(ContainerDelete.self)
        case (.object, .get), (.object, .head): request(ObjectGet.self)
        case (.object, .put):
            head.contains(.copyFrom) ? request(ObjectCopy.self) : request(ObjectPut.self)
        case (.object, .copy): request(ObjectCopy.self)
        case (.object, .post): request(ObjectPost.self)
        case (.object, .delete): request(ObjectDelete.self)
        default: request(SwiftRequest.self)
        }
    }

    private func begin(_ request: SwiftRequest) {
        switch (request.endpoint, request.head.method) {
        case (.info, _), (.healthcheck, _), (.auth, _): request.run()
        case (_, .get), (_, .head): request.authorize(.read)
        case (_, .put), (_, .post), (_, .delete): request.authorize(.write)
        // The path of a COPY is read; what it writes to is asked for later.
        case (_, .copy): request.authorize(.read)
        case (_, .options): request.authorize(.options)
        default: request.run()
        }
    }
}
