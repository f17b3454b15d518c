import Access
import HTTPServer
import Logging
import NIOCore
import Ring
import StorageWire

/// One request of the Swift API on its way through authorisation to its answer. Bound to its event loop.
///
/// The answer is given once; what comes after it is ignored. Subclasses take bodies.
class SwiftRequest: HTTPRequestHandler {
    let api: SwiftAPI
    let loop: ProxyLoop
    let head: RequestHead
    let exchange: HTTPExchange
    let transactionID: [UInt8]
    let endpoint: SwiftEndpoint
    private let began = NIODeadline.now()
    private(set) var isAnswered = false
    /// Set when rights are known.
    var isOwner = false
    /// The container of the path, once it has been looked up.
    var facts: ContainerFacts?

    required init(
        api: SwiftAPI, loop: ProxyLoop, head: RequestHead, exchange: HTTPExchange, transactionID: [UInt8],
        endpoint: SwiftEndpoint
    ) {
        self.api = api
        self.loop = loop
        self.head = head
        self.exchange = exchange
        self.transactionID = transactionID
        self.endpoint = endpoint
    }

    /// Carries the request out, once it is authorised.
    func run() {
        fail(SwiftError(405))
    }

    func body(_ chunk: ByteBuffer) {}
    func bodyEnded() {}
    func writabilityChanged(_ writable: Bool) {}

    func disconnected(_ reason: DisconnectReason) {
        guard !isAnswered else { return }
        isAnswered = true
        note(status: 499)
    }

    // MARK: Answers

    /// Headers that every answer begins with.
    func headers(capacity: Int = 384) -> ResponseHeaders {
        var headers = ResponseHeaders(capacity: capacity)
        transactionID.withUnsafeBytes {
            headers.append("X-Trans-Id", bytes: $0)
            headers.append("X-Openstack-Request-Id", bytes: $0)
        }
        addCORS(to: &headers)
        return headers
    }

    func respond(_ status: HTTPStatus, _ headers: ResponseHeaders, body: ByteBuffer? = nil) {
        guard !isAnswered else { return }
        isAnswered = true
        exchange.respond(status, headers: headers, body: body)
        note(status: status.rawValue)
    }

    /// Begins an answer whose body follows; `finished` is to be called at its end.
    func start(_ status: HTTPStatus, _ headers: ResponseHeaders, contentLength: Int64) {
        isAnswered = true
        exchange.start(status, headers: headers, contentLength: contentLength)
    }

    func finished(status: HTTPStatus) {
        exchange.finish()
        note(status: status.rawValue)
    }

    func fail(_ error: SwiftError) {
        guard !isAnswered else { return }
        var headers = headers()
        headers.append("Content-Type", error.contentType)
        if error.status == 401 { appendChallenge(to: &headers) }
        if error.status == 405 { headers.append("Allow", allowedMethods) }
        if error.status == 503 { headers.append("Retry-After", 1) }
        respond(HTTPStatus(rawValue: UInt16(error.status)), headers, body: ByteBuffer(bytes: error.body))
    }

    /// 503, or what the failure means to a client; the reason goes to the log.
    func fail(_ failure: StorageFailure) {
        api.logger.warning(
            "A request could not be served",
            metadata: [
                "trans_id": "\(String(decoding: transactionID, as: UTF8.self))", "reason": "\(failure.reason)",
                "detail": "\(failure.detail)",
            ])
        fail(SwiftError(503))
    }

    private func appendChallenge(to headers: inout ResponseHeaders) {
        var realm = Array("Swift realm=\"".utf8)
        // Quotes and backslashes would end the string that the realm stands in.
        realm += PercentEncoding.encoded(account ?? Array("unknown".utf8))
        realm.append(UInt8(ascii: "\""))
        realm.withUnsafeBytes { headers.append("WWW-Authenticate", bytes: $0) }
    }

    private var allowedMethods: StaticString {
        switch endpoint {
        case .info, .healthcheck, .auth: "GET, HEAD"
        case .account: "GET, HEAD, PUT, POST, DELETE, OPTIONS"
        case .container: "GET, HEAD, PUT, POST, DELETE, OPTIONS"
        case .object: "GET, HEAD, PUT, POST, DELETE, COPY, OPTIONS"
        }
    }

    private func addCORS(to headers: inout ResponseHeaders) {
        guard let cors = facts?.cors, let origin = head.value(of: "origin") else { return }
        for item in cors.headers(origin: origin, response: []) { headers.append(item) }
    }

    private func note(status: UInt16) {
        let elapsed = NIODeadline.now() - began
        api.metrics.answered(head.method, status: status, nanoseconds: UInt64(clamping: elapsed.nanoseconds))
        api.logger.debug(
            "Request",
            metadata: [
                "trans_id": "\(String(decoding: transactionID, as: UTF8.self))",
                "method": "\(String(decoding: head.methodBytes, as: UTF8.self))", "status": "\(status)",
                "microseconds": "\(elapsed.nanoseconds / 1000)",
            ])
    }

    // MARK: What the path names

    var account: [UInt8]? {
        switch endpoint {
        case .info, .healthcheck, .auth: nil
        case .account(let account), .container(let account, _), .object(let account, _, _): account
        }
    }

    var container: [UInt8]? {
        switch endpoint {
        case .info, .healthcheck, .auth, .account: nil
        case .container(_, let container), .object(_, let container, _): container
        }
    }

    func parameters() throws(SwiftError) -> QueryParameters {
        try QueryParameters(parsing: SwiftPath.query(of: head.pathAndQuery))
    }

    var isNewestWanted: Bool { head.value(of: "x-newest")?.isTrueValue ?? false }

    // MARK: Authorisation

    /// Runs the request if the caller may do `action` on what the path names.
    func authorize(_ action: Authorization.Action) {
        guard let account else { return run() }
        let target: Authorization.Target =
            switch endpoint {
            case .object: .object
            case .container: .container
            case .account, .info, .healthcheck, .auth: .account
            }
        let manages = target == .account && (head.method == .put || head.method == .delete)
        let question = Authorization.Question(
            action: action, target: target, managesAccount: manages, account: account,
            referrer: head.value(of: "referer"))
        let identity = identity()
        if let early = Authorization.decideWithoutACLs(question, identity: identity) {
            return decided(early, needsFacts: target == .object)
        }
        authorizeByACLs(question, identity, target)
    }

    private func authorizeByACLs(
        _ question: Authorization.Question, _ identity: Identity?, _ target: Authorization.Target
    ) {
        guard let container, target != .account else { return authorizeByAccount(question, identity, nil) }
        lookUp(account: question.account, container: container) { [self] facts in
            self.facts = facts
            let byContainer = Authorization.decide(
                question, identity: identity, containerRead: facts?.readACL, containerWrite: facts?.writeACL,
                accountACL: nil)
            if case .allow = byContainer { return decided(byContainer, needsFacts: target == .object) }
            authorizeByAccount(question, identity, facts)
        }
    }

    private func authorizeByAccount(
        _ question: Authorization.Question, _ identity: Identity?, _ facts: ContainerFacts?
    ) {
        // An account's ACL names users: without one there is nothing to look up.
        guard identity != nil else { return decided(.unauthenticated, needsFacts: false) }
        TableRead.run(loop, TableTarget(cluster: loop.cluster, account: question.account)) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                let acl = state.head?.value(of: "X-Account-Access-Control").map { AccountACL(stored: $0) }
                let decision = Authorization.decide(
                    question, identity: identity, containerRead: facts?.readACL, containerWrite: facts?.writeACL,
                    accountACL: acl)
                decided(decision, needsFacts: container != nil && question.target == .object)
            }
        }
    }

    private func decided(_ decision: Authorization, needsFacts: Bool) {
        switch decision {
        case .unauthenticated: fail(SwiftError(401))
        case .forbidden: fail(SwiftError(403))
        case .allow(let owner):
            isOwner = owner
            guard let account, let container, facts == nil else { return run() }
            guard needsFacts else {
                return checkAccount(account) { [self] isUsable in
                    if isUsable { run() } else { fail(SwiftError(404)) }
                }
            }
            lookUp(account: account, container: container) { [self] facts in
                self.facts = facts
                run()
            }
        }
    }

    func identity() -> Identity? {
        let now = api.now()
        func verify(_ header: KnownHeader) -> Identity?? {
            head.withFirst(header) { bytes in bytes.map { api.users.verify($0, now: now) } }
        }
        return (verify(.authToken) ?? verify(.storageToken)) ?? nil
    }

    /// Whether the containers of an account may be used: those of one that is deleted may not, until it is made again. From the cache or from a
    /// majority of the account's replicas; unreachable: answers 503.
    private func checkAccount(_ account: [UInt8], then: @escaping (_ isUsable: Bool) -> Void) {
        let target = TableTarget(cluster: loop.cluster, account: account)
        if api.facts.isUsable(account: target.hash, now: .now()) { return then(true) }
        let generation = api.facts.generation
        TableRead.run(loop, target) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                let isUsable = !state.isRefusedAccount(at: timestampNow)
                if isUsable { api.facts.insert(usableAccount: target.hash, generation: generation, now: .now()) }
                then(isUsable)
            }
        }
    }

    /// By the clock of this machine.
    var timestampNow: Timestamp { Timestamp(ticks: loop.timestamps.wallTicks()) }

    /// Finds a container, from the cache or from a majority of its replicas; `nil` when there is none, or no account for it. Unreachable: answers 503.
    func lookUp(account: [UInt8], container: [UInt8], then: @escaping (ContainerFacts?) -> Void) {
        let hash = loop.cluster.hasher.hash(account: account, container: container)
        if let known = api.facts.facts(of: hash, now: .now()) { return then(known) }
        let generation = api.facts.generation
        checkAccount(account) { [self] isUsable in
            guard isUsable else { return then(nil) }
            let target = TableTarget(cluster: loop.cluster, account: account, container: container)
            TableRead.run(loop, target) { [self] outcome in
                switch outcome {
                case .unavailable(let failure): fail(failure)
                case .state(let state):
                    guard state.isLive, let head = state.head else { return then(nil) }
                    let facts = ContainerFacts(of: hash, head: head)
                    api.facts.insert(facts, generation: generation, now: .now())
                    then(facts)
                }
            }
        }
    }
}

extension ResponseHeaders {
    mutating func append(_ item: MetadataItem) {
        item.name.withUnsafeBytes { name in
            item.value.withUnsafeBytes { value in _ = append(name: name, value: value) }
        }
    }

    mutating func append(_ name: StaticString, bytes: [UInt8]) {
        bytes.withUnsafeBytes { append(name, bytes: $0) }
    }
}
