import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// Collects the answers of a call, and lets a test wait for them off the loop.
final class Answers: CallReceiver, @unchecked Sendable {
    private struct State {
        var replies: [(tag: Int, reply: StorageReply)] = []
        var waiting: (count: Int, continuation: CheckedContinuation<Void, Never>)?
    }

    private let state = Mutex(State())

    func received(_ reply: StorageReply, tag: Int) {
        let ready = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.replies.append((tag, reply))
            guard let waiting = state.waiting, waiting.count <= state.replies.count else { return nil }
            state.waiting = nil
            return waiting.continuation
        }
        ready?.resume()
    }

    /// Waits until `count` answers have come, and gives all that have.
    func first(_ count: Int) async -> [(tag: Int, reply: StorageReply)] {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state -> Bool in
                if state.replies.count >= count { return true }
                state.waiting = (count, continuation)
                return false
            }
            if isReady { continuation.resume() }
        }
        return state.withLock { $0.replies }
    }

    var count: Int { state.withLock { $0.replies.count } }
}

/// A call as a test uses it, from anywhere.
final class TestCall: Sendable {
    let answers = Answers()
    private let eventLoop: any EventLoop
    private let call: EventLoopFuture<NIOLoopBound<any StorageCall>>

    init(_ node: any StorageNode, _ request: StorageRequest, within time: TimeAmount, on eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        let answers = self.answers
        call = eventLoop.submit {
            let call = node.call(
                request, deadline: eventLoop.now + time, on: eventLoop, receiver: answers, tag: 0)
            return NIOLoopBound(call, eventLoop: eventLoop)
        }
    }

    func send(_ request: StorageRequest) { call.whenSuccess { $0.value.send(request) } }
    func end() { call.whenSuccess { $0.value.end() } }

    /// The answer with that index, when it has come.
    func reply(_ index: Int = 0) async -> StorageReply { await answers.first(index + 1)[index].reply }
}

extension StorageNode {
    func ask(
        _ request: StorageRequest, within time: TimeAmount = .seconds(10), on eventLoop: any EventLoop
    ) async -> StorageReply {
        await TestCall(self, request, within: time, on: eventLoop).reply()
    }
}

enum Fixture {
    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    static let hash = PathHash(high: 1, low: 2)
    static let table = TableAddress(device: 1, kind: .container, hash: hash)

    static func credentials(key: String = "a key of many bytes", cluster: String = "cluster") -> WireCredentials {
        WireCredentials(
            clusterId: Array(cluster.utf8), key: ClusterKey(Array(key.utf8))!, random: WireCredentials.systemRandom)
    }

    static func read(_ length: Int, wantsBody: Bool = true) -> StorageRequest {
        .readObject(
            ReadObject(
                address: ObjectAddress(device: 1, policy: 0, hash: PathHash(high: 0, low: UInt64(length))),
                wanted: wantsBody ? .body : .head))
    }

    /// Answered after so many milliseconds.
    static func slow(_ milliseconds: UInt64) -> StorageRequest {
        .deleteTable(DeleteTable(table: table, timestamp: Timestamp(rawValue: milliseconds)))
    }

    /// Never answered.
    static let unanswered = StorageRequest.readTable(table)

    static func chunk(_ count: Int) -> StorageRequest {
        let bytes = EchoHandler.body(from: 0, count)
        return .chunk(UploadChunk(bytes: bytes))
    }

    static func commit(_ timestamp: UInt64) -> StorageRequest {
        .commitUpload(
            CommitUpload(timestamp: Timestamp(rawValue: timestamp), condition: .none, row: nil, head: ByteBuffer()))
    }

    static let openUpload = StorageRequest.openUpload(
        OpenUpload(address: ObjectAddress(device: 1, policy: 0, hash: hash), expectedLength: -1))
}

/// A server on loopback and a client of it, on one group of loops.
final class Loopback: Sendable {
    let group: MultiThreadedEventLoopGroup
    let handler = EchoHandler()
    let server: StorageServer
    let node: RemoteNode

    var loop: any EventLoop { group.any() }

    init(
        limits: WireLimits = WireLimits(), serverLimits: WireLimits? = nil,
        credentials: WireCredentials = Fixture.credentials(),
        clientCredentials: WireCredentials? = nil, encryption: LinkEncryption = .whenAsked,
        requiresEncryption: Bool = false, threads: Int = 1, logger: Logger = Fixture.silent
    ) async throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        server = try await StorageServer.start(
            host: "127.0.0.1", port: 0, group: group, handler: handler, credentials: credentials,
            requiresEncryption: requiresEncryption, limits: serverLimits ?? limits, logger: logger
        ).get()
        node = RemoteNode(
            host: "127.0.0.1", port: server.port, group: group, credentials: clientCredentials ?? credentials,
            encryption: encryption, limits: limits, logger: logger)
    }

    func stop() async throws {
        try await node.close().get()
        try await server.close(within: .seconds(1)).get()
        try await group.shutdownGracefully()
    }
}

extension StorageReply {
    var failure: StorageFailure.Reason? {
        if case .failed(let failure) = self { failure.reason } else { nil }
    }

    var acceptedBytes: Int? {
        if case .accepted(let bytes) = self { bytes } else { nil }
    }
}
