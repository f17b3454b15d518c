import Access
import HTTPServer
import NIOCore

/// What needs no token: `/info`, `/healthcheck`, and the way to a token.
final class PublicRequest: SwiftRequest {
    override func run() {
        guard head.method == .get || head.method == .head else { return fail(SwiftError(405)) }
        switch endpoint {
        case .info:
            var headers = headers()
            headers.append("Content-Type", "application/json; charset=UTF-8")
            respond(.ok, headers, body: ByteBuffer(bytes: api.info))
        case .healthcheck:
            var headers = headers()
            headers.append("Content-Type", "text/plain")
            respond(.ok, headers, body: ByteBuffer(string: "OK"))
        case .auth: authenticate()
        case .account, .container, .object: fail(SwiftError(404))
        }
    }

    /// v1 authentication: user and key in, token and storage URL out.
    private func authenticate() {
        let user = head.value(of: "x-auth-user") ?? head.value(of: "x-storage-user")
        let key = head.value(of: "x-auth-key") ?? head.value(of: "x-storage-pass")
        guard let user, let key, let token = api.users.authenticate(qualifiedName: user, key: key, now: api.now())
        else { return fail(SwiftError(401)) }
        var headers = headers()
        headers.append("Content-Type", "text/plain; charset=UTF-8")
        headers.append("X-Auth-Token", bytes: token.text)
        headers.append("X-Storage-Token", bytes: token.text)
        headers.append("X-Auth-Token-Expires", token.lifetime)
        var url = Array("http://".utf8)
        url += head.value(of: "host") ?? Array("localhost".utf8)
        url += Array("/v1/".utf8)
        url += PercentEncoding.encoded(token.storageAccount)
        headers.append("X-Storage-Url", bytes: url)
        respond(.ok, headers)
    }
}

/// OPTIONS: what may be done, and the preflight of browsers.
final class OptionsRequest: SwiftRequest {
    override func run() {
        guard let account, let container else { return answer(nil) }
        lookUp(account: account, container: container) { [self] facts in
            answer(facts.map { CORS(containerMetadata: $0.head.items) } ?? CORS(containerMetadata: []))
        }
    }

    private func answer(_ policy: CORS?) {
        let methods: [StaticString] =
            switch endpoint {
            case .object: ["GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS"]
            case .container: ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]
            case .account, .info, .healthcheck, .auth: ["GET", "HEAD", "POST", "OPTIONS"]
            }
        let answer = CORS.options(head, policy: policy, methods: methods)
        var headers = headers()
        headers.append("Content-Type", "text/plain; charset=UTF-8")
        for item in answer.headers { headers.append(item) }
        respond(HTTPStatus(rawValue: UInt16(answer.status)), headers)
    }
}
