import NIOCore
import NIOPosix
import StorageWire
import Synchronization
import Testing

/// Strangers, and a network that loses, flips and holds up bytes, of links in the clear and of encrypted ones.
@Suite(.timeLimit(.minutes(1)))
struct HostileNetworkTests {
    private static let both = [LinkEncryption.never, .required]

    /// A server, and a node that reaches it through a relay.
    private func with(
        _ limits: WireLimits, serverLimits: WireLimits? = nil, _ encryption: LinkEncryption,
        _ body: (RemoteNode, Relay, Loopback) async throws -> Void
    ) async throws {
        let loopback = try await Loopback(limits: limits, serverLimits: serverLimits, threads: 2)
        let relay = try await Relay.start(to: loopback.server.port, group: loopback.group)
        let node = RemoteNode(
            host: "127.0.0.1", port: relay.port, group: loopback.group, credentials: Fixture.credentials(),
            encryption: encryption, limits: limits, logger: Fixture.silent)
        try await body(node, relay, loopback)
        try await node.close().get()
        try await relay.stop()
        try await loopback.stop()
    }

    @Test(arguments: UInt64(0)..<20, both)
    func aFlippedBitBreaksTheConnectionAndNeverGetsThrough(seed: UInt64, _ encryption: LinkEncryption) async throws {
        var random = SeededGenerator(seed: seed)
        let bit = Int(random.next() % 80_000)
        var limits = WireLimits()
        limits.pingInterval = .milliseconds(100)
        try await with(limits, encryption) { node, relay, loopback in
            let loop = loopback.loop
            guard case .status = await node.ask(.status, on: loop) else { throw Unexpected(.absent) }
            relay.fault.withLock { $0.flippedBit = bit }
            var failures = 0
            for size in 0..<20 {
                switch await node.ask(Fixture.read(size * 100), on: loop) {
                case .object(let object): #expect(object.body == EchoHandler.body(from: 0, size * 100))
                case .failed(let failure):
                    #expect(failure.reason == .unreachable)
                    failures += 1
                default: Issue.record("an answer that nobody gave")
                }
            }
            #expect(failures > 0, "seed \(seed): the bit was not found")
        }
    }

    @Test(arguments: both)
    func aSilentPeerIsGivenUp(_ encryption: LinkEncryption) async throws {
        var limits = WireLimits()
        limits.pingInterval = .milliseconds(40)
        try await with(limits, encryption) { node, relay, loopback in
            let loop = loopback.loop
            guard case .status = await node.ask(.status, on: loop) else { throw Unexpected(.absent) }
            // Pings keep an idle connection.
            let call = TestCall(node, Fixture.slow(400), within: .seconds(20), on: loop)
            guard case .notEmpty = await call.reply() else { throw Unexpected(await call.reply()) }
            relay.fault.withLock { $0.isSilent = true }
            #expect(await node.ask(.status, within: .seconds(20), on: loop).failure == .unreachable)
        }
    }

    /// Long before a deadline, however slow the calls are that it answers.
    @Test(arguments: both)
    func aPeerThatFallsSilentIsDownUntilItIsBack(_ encryption: LinkEncryption) async throws {
        var limits = WireLimits()
        limits.silence = .milliseconds(300)
        try await with(limits, encryption) { node, relay, loopback in
            let loop = loopback.loop
            guard case .notEmpty = await node.ask(Fixture.slow(700), on: loop) else { throw Unexpected(.absent) }
            relay.fault.withLock { $0.isSilent = true }
            let start = ContinuousClock.now
            #expect(await node.ask(.status, within: .seconds(20), on: loop).failure == .unreachable)
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(await node.ask(.status, within: .seconds(20), on: loop).failure == .unreachable)
            relay.fault.withLock { $0.isSilent = false }
            var attempts = 0
            while await node.ask(.status, on: loop).failure == .unreachable, attempts < 1000 {
                attempts += 1
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(attempts < 1000)
        }
    }

    @Test(arguments: both)
    func aServerStopsReadingFromAPeerThatTakesNothing(_ encryption: LinkEncryption) async throws {
        try await with(WireLimits(), encryption) { node, relay, loopback in
            let loop = loopback.loop
            guard case .status = await node.ask(.status, on: loop) else { throw Unexpected(.absent) }
            relay.fault.withLock { $0.isJammed = true }
            let listing = StorageRequest.listTable(ListTable(table: Fixture.table, limit: 1000))
            try await ask(listing, times: 64, node, on: loop)
            try await Task.sleep(for: .milliseconds(300))
            // What it holds is bounded even though it is asked for 64 MB.
            #expect(loopback.handler.record.withLock { $0.requests } < 40)
        }
    }

    @Test(arguments: both)
    func aServerBreaksWithAPeerThatLetsTooMuchWait(_ encryption: LinkEncryption) async throws {
        var limits = WireLimits()
        limits.maximumOutput = 8 << 20
        try await with(WireLimits(), serverLimits: limits, encryption) { node, relay, loopback in
            let loop = loopback.loop
            let upload = TestCall(node, Fixture.openUpload, within: .seconds(30), on: loop)
            _ = await upload.reply()
            try await ask(Fixture.unanswered, times: 64, node, on: loop)
            guard case .status = await node.ask(.status, on: loop) else { throw Unexpected(.absent) }
            relay.fault.withLock { $0.isJammed = true }
            loopback.handler.release(.body(ByteBuffer(repeating: 1, count: 1 << 20)))
            var waits = 0
            while loopback.handler.record.withLock({ $0.sessionsEnded }) == 0, waits < 1000 {
                waits += 1
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(loopback.handler.record.withLock { $0.sessionsEnded } == 1)
        }
    }

    private func ask(
        _ request: StorageRequest, times count: Int, _ node: RemoteNode, on loop: any EventLoop
    ) async throws {
        let answers = Answers()
        try await loop.submit {
            for tag in 0..<count {
                node.call(request, deadline: .now() + .seconds(30), on: loop, receiver: answers, tag: tag)
            }
        }.get()
    }

    /// A connection that speaks without knowing the key.
    private func stranger(_ port: Int, _ group: any EventLoopGroup, says: [UInt8]) async throws -> Stranger {
        let heard = Stranger()
        let channel = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StrangerHandler(heard))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        heard.channel.withLock { $0 = channel }
        if !says.isEmpty { channel.writeAndFlush(ByteBuffer(bytes: says), promise: nil) }
        return heard
    }

    @Test(arguments: [
        Array("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".utf8), [UInt8](repeating: 0, count: 4000),
        [], [0x16, 3, 1, 0, 200] + [UInt8](repeating: 1, count: 200), [UInt8](repeating: 0x16, count: 4000),
    ])
    func aStrangerHearsNothingAndIsClosed(_ says: [UInt8]) async throws {
        var limits = WireLimits()
        limits.handshakeTimeout = .milliseconds(150)
        let loopback = try await Loopback(limits: limits)
        let stranger = try await stranger(loopback.server.port, loopback.group, says: says)
        await stranger.closed()
        // An alert, to one that begins as TLS does.
        #expect(stranger.byteCount.withLock { $0 } <= (says.first == 0x16 ? 7 : 0))
        #expect(loopback.handler.record.withLock { $0.requests } == 0)
        try await loopback.stop()
    }

    @Test func strangersAreCountedAndDoNotKeepPeersOut() async throws {
        var limits = WireLimits()
        limits.maximumUnauthenticated = 2
        limits.handshakeTimeout = .seconds(2)
        let loopback = try await Loopback(limits: limits)
        let port = loopback.server.port
        let first = try await stranger(port, loopback.group, says: [])
        let second = try await stranger(port, loopback.group, says: [])
        let third = try await stranger(port, loopback.group, says: [])
        await third.closed()
        #expect(first.isOpen && second.isOpen)
        await first.closed()
        await second.closed()
        guard case .status = await loopback.node.ask(.status, on: loopback.loop) else { throw Unexpected(.absent) }
        try await loopback.stop()
    }
}

private final class Stranger: Sendable {
    let channel = Mutex<(any Channel)?>(nil)
    let byteCount = Mutex(0)

    var isOpen: Bool { channel.withLock { $0?.isActive ?? false } }

    func closed() async {
        _ = try? await channel.withLock { $0 }?.closeFuture.get()
    }
}

private final class StrangerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let stranger: Stranger

    init(_ stranger: Stranger) { self.stranger = stranger }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let count = unwrapInboundIn(data).readableBytes
        stranger.byteCount.withLock { $0 += count }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
