import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import StorageWire

/// Who encrypts, who has to, and how that changes while calls are made.
@Suite(.timeLimit(.minutes(1)))
struct EncryptionTests {
    private static func limits(grace: TimeAmount = .seconds(30)) -> WireLimits {
        var limits = WireLimits()
        limits.clearGrace = grace
        return limits
    }

    private func eventually(_ what: Comment, _ check: () -> Bool) async throws {
        var waits = 0
        while !check(), waits < 1000 {
            waits += 1
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(waits < 1000, what)
    }

    @Test(arguments: [LinkEncryption.whenAsked, .required])
    func aServerThatRequiresItIsReachedEncrypted(_ encryption: LinkEncryption) async throws {
        let loopback = try await Loopback(encryption: encryption, requiresEncryption: true)
        guard case .object(let object) = await loopback.node.ask(Fixture.read(200_000), on: loopback.loop) else {
            throw Unexpected(.absent)
        }
        #expect(object.body == EchoHandler.body(from: 0, 200_000))
        #expect(loopback.server.connections == (1, 1))
        try await loopback.stop()
    }

    /// Calls that wait for the connection go over to the next one.
    @Test func callsOfANodeThatIsTurnedAwayAreAllAnswered() async throws {
        let loopback = try await Loopback(requiresEncryption: true)
        let answers = Answers()
        let loop = loopback.loop
        try await loop.submit {
            for tag in 0..<500 {
                loopback.node.call(
                    .status, deadline: .now() + .seconds(20), on: loop, receiver: answers, tag: tag)
            }
        }.get()
        let replies = await answers.first(500)
        #expect(replies.allSatisfy { $0.reply.failure == nil })
        #expect(loopback.handler.record.withLock { $0.requests } == 500)
        try await loopback.stop()
    }

    @Test func aServerThatRequiresItTurnsTheOthersAway() async throws {
        let log = RecordedLog()
        let loopback = try await Loopback(encryption: .never, requiresEncryption: true, logger: log.logger)
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .unreachable)
        #expect(loopback.handler.record.withLock { $0.requests } == 0)
        #expect(log.text.contains("peer does not encrypt"))
        try await loopback.stop()
    }

    @Test(arguments: [
        (Fixture.credentials(key: "another key of bytes"), "peer does not hold the cluster's key"),
        (Fixture.credentials(cluster: "another cluster"), "peer shows no key of this cluster"),
    ])
    func whyAPeerIsRefusedIsLogged(_ credentials: WireCredentials, _ reason: String) async throws {
        let log = RecordedLog()
        let loopback = try await Loopback(
            clientCredentials: credentials, encryption: .required, requiresEncryption: true, logger: log.logger)
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .unreachable)
        #expect(loopback.handler.record.withLock { $0.requests } == 0)
        try await eventually("the reason is logged") { log.text.contains(reason) }
        #expect(log.text.contains("the other node does not accept the cluster"))
        #expect(!log.text.contains("another key") && !log.text.contains("a key of many bytes"))
        try await loopback.stop()
    }

    /// Somebody in between who lets no TLS through hears no word in the clear.
    @Test(arguments: [LinkEncryption.whenAsked, .required])
    func nobodyTalksANodeOutOfIt(_ encryption: LinkEncryption) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let heard = Mutex<[[UInt8]]>([])
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        HangUp { bytes in heard.withLock { $0.append(bytes) } })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let node = RemoteNode(
            host: "127.0.0.1", port: listener.localAddress!.port!, group: group, credentials: Fixture.credentials(),
            encryption: encryption, logger: Fixture.silent)
        #expect(await node.ask(.status, on: group.any()).failure == .unreachable)
        try await eventually("it is tried again") { heard.withLock { $0.count } > 3 }
        let hellos = heard.withLock { $0 }
        let inTheClear = hellos.filter { $0.first != 0x16 }
        // Who need not encrypt tries both ways.
        #expect(inTheClear.isEmpty == (encryption == .required))
        #expect(inTheClear.count < hellos.count)
        try await node.close().get()
        try await listener.close()
        try await group.shutdownGracefully()
    }

    @Test func aSwitchFailsNoCallAndEndsAllLinksInTheClear() async throws {
        let loopback = try await Loopback(limits: Self.limits(grace: .milliseconds(100)), threads: 2)
        let loops = Array(loopback.group.makeIterator())
        // An upload that lasts longer than all of it.
        let upload = TestCall(loopback.node, Fixture.openUpload, within: .seconds(20), on: loops[0])
        _ = await upload.reply()
        let load = Load(loopback.node, on: loops)
        for isOn in [true, false, true] {
            // The server hears of it first, or the node does.
            if isOn { loopback.server.require(encryption: true) }
            try await Task.sleep(for: .milliseconds(50))
            loopback.node.use(LinkEncryption(isOn: isOn))
            try await Task.sleep(for: .milliseconds(50))
            loopback.server.require(encryption: isOn)
            try await Task.sleep(for: .milliseconds(200))
        }
        for index in 1...8 {
            upload.send(Fixture.chunk(10_000))
            #expect(await upload.reply(index).acceptedBytes == index * 10_000)
        }
        upload.send(Fixture.commit(101))
        guard case .stored = await upload.reply(9) else { throw Unexpected(await upload.reply(9)) }
        upload.end()
        let (answers, failures) = await load.stop()
        #expect(answers > 100 && failures.isEmpty, "\(failures)")
        try await eventually("links in the clear have ended") { loopback.server.connections == (2, 2) }
        try await loopback.stop()
    }

    /// One that has not heard of the change goes on, and is reached encrypted once its link has ended.
    @Test func aPeerThatHasNotHeardHasAGrace() async throws {
        let loopback = try await Loopback(limits: Self.limits(grace: .milliseconds(300)))
        let loop = loopback.loop
        guard case .status = await loopback.node.ask(.status, on: loop) else { throw Unexpected(.absent) }
        loopback.server.require(encryption: true)
        guard case .status = await loopback.node.ask(.status, on: loop) else { throw Unexpected(.absent) }
        #expect(loopback.server.connections == (1, 0))
        try await eventually("the link has ended") { loopback.server.connections.all == 0 }
        guard case .status = await loopback.node.ask(.status, on: loop) else { throw Unexpected(.absent) }
        #expect(loopback.server.connections == (1, 1))
        try await loopback.stop()
    }

    @Test func whatIsTakenBackInTheGraceEndsNothing() async throws {
        let loopback = try await Loopback(limits: Self.limits(grace: .milliseconds(100)))
        let loop = loopback.loop
        guard case .status = await loopback.node.ask(.status, on: loop) else { throw Unexpected(.absent) }
        loopback.server.require(encryption: true)
        loopback.server.require(encryption: false)
        try await Task.sleep(for: .milliseconds(300))
        #expect(loopback.server.connections == (1, 0))
        try await loopback.stop()
    }
}

/// Calls without a pause, on each loop some at once.
private final class Load: Sendable {
    private let tasks: [Task<(Int, [StorageFailure.Reason]), Never>]
    private let isOver: Stop

    private final class Stop: Sendable {
        let flag = Mutex(false)
    }

    init(_ node: RemoteNode, on loops: [any EventLoop]) {
        let stop = Stop()
        isOver = stop
        tasks = loops.flatMap { loop in
            (0..<3).map { _ in
                Task {
                    var answers = 0
                    var failures: [StorageFailure.Reason] = []
                    while !stop.flag.withLock({ $0 }) {
                        let reply = await node.ask(Fixture.read(5000), on: loop)
                        if let failure = reply.failure { failures.append(failure) } else { answers += 1 }
                    }
                    return (answers, failures)
                }
            }
        }
    }

    func stop() async -> (Int, [StorageFailure.Reason]) {
        isOver.flag.withLock { $0 = true }
        var all: (Int, [StorageFailure.Reason]) = (0, [])
        for task in tasks {
            let (answers, failures) = await task.value
            all = (all.0 + answers, all.1 + failures)
        }
        return all
    }
}

/// Takes what comes first and closes.
private final class HangUp: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let heard: ([UInt8]) -> Void

    init(_ heard: @escaping ([UInt8]) -> Void) { self.heard = heard }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard(Array(unwrapInboundIn(data).readableBytesView))
        context.close(promise: nil)
    }
}

/// A log that a test reads.
private final class RecordedLog: Sendable {
    private let lines = Mutex<[String]>([])

    var text: String { lines.withLock { $0.joined(separator: "\n") } }

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private func add(_ line: String) { lines.withLock { $0.append(line) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.add("\(event.message) \(metadata.merging(event.metadata ?? [:]) { $1 })")
        }
    }
}
