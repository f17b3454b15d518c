import Access
import ClusterMap
import Daemon
import HTTPServer
import NIOCore
import NIOPosix
import Synchronization

/// Lets nodes in that show a token of this cluster: answers `POST /ringfort/v1/join`.
///
/// It hands out the secrets, sealed; the node becomes a member, and the token used, with the change of the map that it asks for next.
final class JoinService: Sendable {
    private let directory: ClusterDirectory
    private let identity: ClusterIdentity
    private let map: MapService
    private let workers: NIOThreadPool
    private let failures = Mutex(JoinFailures())

    /// Bytes. A node that is told of no users gets them as all others do, when it is in.
    private static let maximumUsers = 1 << 19

    init(directory: ClusterDirectory, identity: ClusterIdentity, map: MapService, workers: NIOThreadPool) {
        self.directory = directory
        self.identity = identity
        self.map = map
        self.workers = workers
    }

    func accept(_ head: RequestHead, _ exchange: HTTPExchange) -> any HTTPRequestHandler {
        guard String(decoding: head.pathAndQuery, as: UTF8.self) == JoinRequest.path else {
            Self.answer(exchange, 404, "there is no such page")
            return DiscardingRequestHandler.shared
        }
        guard head.method == .post else {
            Self.answer(exchange, 405, "POST a join request (ringfort join does)")
            return DiscardingRequestHandler.shared
        }
        let address = exchange.remoteAddress?.ipAddress ?? ""
        guard failures.withLock({ $0.mayTry(address, now: MonotonicClock.system.nanoseconds) }) else {
            Self.answer(exchange, 429, "too many requests with wrong tokens: wait a minute")
            return DiscardingRequestHandler.shared
        }
        return Body(exchange) { [self] body in decide(body, from: address, exchange) }
    }

    private func decide(_ body: [UInt8], from address: String, _ exchange: HTTPExchange) {
        guard let request = JoinRequest(body: body) else {
            return Self.answer(exchange, 400, "this is not a join request of a version that is known here")
        }
        let token = JoinToken(request.claim, clusterKey: identity.accessKey)
        guard request.isProven(by: token) else {
            failures.withLock { $0.note(address, now: MonotonicClock.system.nanoseconds) }
            return Self.answer(exchange, 403, "the token is not one of this cluster")
        }
        guard request.claim.expiry > UInt64(WallClock.system.seconds) else {
            return Self.answer(exchange, 403, "the token has expired: make another with `ringfort token create`")
        }
        guard let map = map.map else { return Self.answer(exchange, 503, "this node has no cluster map yet") }
        let id = String(decoding: ByteText.hex(request.claim.id), as: UTF8.self)
        if let used = map.usedTokens.first(where: { $0.id == id }), used.node != request.node {
            return Self.answer(exchange, 403, "the token has been used: make another with `ringfort token create`")
        }
        // The file of the users is on a disk.
        workers.submit { [self] state in
            guard case .active = state else { return }
            let answer = Result { try sealed(request, token, map) }
            exchange.eventLoop.execute { Self.answer(exchange, answer) }
        }
    }

    private func sealed(_ request: JoinRequest, _ token: JoinToken, _ map: ClusterMap) throws -> [UInt8] {
        let store = directory.users(identity)
        let file = try AtomicFile.read(store.path, limit: UserFile.maximumFileSize) ?? []
        let users = file.count > Self.maximumUsers ? UserFile(clusterKey: identity.accessKey).serialized() : file
        let first = map.nodes.filter { $0.id == self.map.nodeID }
        let others = map.nodes.filter { $0.id != self.map.nodeID }
        let answer = JoinAnswer(
            identity: identity, users: users, firstKey: try ReadyLine.firstKey(in: directory),
            members: (first + others).map { JoinAnswer.Member(host: $0.host, port: $0.storagePort) })
        return try answer.sealed(
            for: request, token: token, nonce: try RandomBytes.make(JoinToken.nonceLength))
    }

    private static func answer(_ exchange: HTTPExchange, _ result: Result<[UInt8], any Error>) {
        switch result {
        case .success(let body):
            var headers = ResponseHeaders(capacity: 64)
            headers.append("Content-Type", "application/json")
            exchange.respond(.ok, headers: headers, body: ByteBuffer(bytes: body))
        case .failure(let error): answer(exchange, 500, "the answer can't be made: \(error)")
        }
    }

    private static func answer(_ exchange: HTTPExchange, _ status: UInt16, _ reason: String) {
        var headers = ResponseHeaders(capacity: 64)
        headers.append("Content-Type", "text/plain; charset=utf-8")
        exchange.respond(HTTPStatus(rawValue: status), headers: headers, body: ByteBuffer(string: reason + "\n"))
    }

    /// Gathers a small body.
    private final class Body: HTTPRequestHandler {
        private let exchange: HTTPExchange
        private let whole: ([UInt8]) -> Void
        private var bytes: [UInt8] = []
        private var isOver = false

        init(_ exchange: HTTPExchange, whole: @escaping ([UInt8]) -> Void) {
            self.exchange = exchange
            self.whole = whole
        }

        func body(_ chunk: ByteBuffer) {
            guard !isOver else { return }
            guard bytes.count + chunk.readableBytes <= JoinRequest.maximumBody else {
                isOver = true
                return JoinService.answer(exchange, 413, "a join request has at most \(JoinRequest.maximumBody) bytes")
            }
            bytes.append(contentsOf: chunk.readableBytesView)
        }

        func bodyEnded() {
            guard !isOver else { return }
            isOver = true
            whole(bytes)
        }

        func writabilityChanged(_ writable: Bool) {}
        func disconnected(_ reason: DisconnectReason) { isOver = true }
    }
}

/// Counts wrong tokens by address, so that nobody guesses in a hurry. Addresses share a fixed number of counters.
struct JoinFailures {
    private struct Counter {
        var failures = 0
        /// Nanoseconds, when the counter began.
        var began: UInt64 = 0
    }

    private var counters = [Counter](repeating: Counter(), count: 256)

    static let limit = 10
    static let period: UInt64 = 60_000_000_000

    func mayTry(_ address: String, now: UInt64) -> Bool {
        let counter = counters[Self.index(address)]
        return counter.failures < Self.limit || now - counter.began >= Self.period
    }

    mutating func note(_ address: String, now: UInt64) {
        let index = Self.index(address)
        if counters[index].failures == 0 || now - counters[index].began >= Self.period {
            counters[index] = Counter(failures: 0, began: now)
        }
        counters[index].failures += 1
    }

    private static func index(_ address: String) -> Int {
        address.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 255 }
    }
}
