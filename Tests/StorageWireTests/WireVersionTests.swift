import NIOCore
import NIOEmbedded
import Ring
import NIOPosix
import Synchronization
import Testing

@testable import StorageWire

/// Nodes of different versions, and messages that one of them does not have.
@Suite(.timeLimit(.minutes(1)))
struct WireVersionTests {
    private func limits(_ versions: ClosedRange<WireVersion>) -> WireLimits {
        var limits = WireLimits()
        limits.versions = versions
        return limits
    }

    private static let old = WireVersion.version2...WireVersion.version2

    /// The first call has to wait until the versions are known, the second one knows them.
    @Test func aMessageThatThePeerLacksFailsHere() async throws {
        let loopback = try await Loopback(serverLimits: limits(Self.old))
        for _ in 0..<2 {
            let reply = await loopback.node.ask(.program, on: loopback.loop)
            guard case .failed(let failure) = reply else { throw Unexpected(reply) }
            #expect(failure == StorageFailure(.unsupported, "peer speaks version 2, not 3"))
        }
        guard case .status = await loopback.node.ask(.status, on: loopback.loop) else { throw Unexpected(.absent) }
        #expect(loopback.handler.record.withLock { $0.requests } == 1)
        try await loopback.stop()
    }

    @Test func aCallUnderWayIsNotTouched() async throws {
        let loopback = try await Loopback(serverLimits: limits(Self.old))
        let upload = TestCall(loopback.node, Fixture.openUpload, within: .seconds(10), on: loopback.loop)
        _ = await upload.reply()
        #expect(await loopback.node.ask(.program, on: loopback.loop).failure == .unsupported)
        upload.send(Fixture.chunk(10))
        #expect(await upload.reply(1).acceptedBytes == 10)
        upload.end()
        try await loopback.stop()
    }

    @Test func peersOfOneVersionHaveAllItsMessages() async throws {
        let loopback = try await Loopback()
        for _ in 0..<2 {
            let reply = await loopback.node.ask(.program, on: loopback.loop)
            guard case .program(let report) = reply else { throw Unexpected(reply) }
            #expect(report.wire == WireVersion.spoken)
        }
        try await loopback.stop()
    }

    @Test func anOlderClientIsServed() async throws {
        let loopback = try await Loopback(limits: limits(Self.old), serverLimits: WireLimits())
        guard case .status = await loopback.node.ask(.status, on: loopback.loop) else { throw Unexpected(.absent) }
        #expect(await loopback.node.ask(.program, on: loopback.loop).failure == .unsupported)
        try await loopback.stop()
    }

    @Test func peersWithoutACommonVersionDoNotComeTogether() async throws {
        let future = WireVersion(rawValue: 8)...WireVersion(rawValue: 9)
        let loopback = try await Loopback(serverLimits: limits(future))
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .unreachable)
        #expect(loopback.handler.record.withLock { $0.requests } == 0)
        try await loopback.stop()
    }

    @Test func aCallThatWaitsForTheVersionHasItsDeadline() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let silent = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let node = RemoteNode(
            host: "127.0.0.1", port: silent.localAddress!.port!, group: group, credentials: Fixture.credentials(),
            logger: Fixture.silent)
        #expect(await node.ask(.program, within: .milliseconds(100), on: group.any()).failure == .deadline)
        #expect(await node.ask(.program, within: .seconds(10), on: group.any()).failure == .unreachable)
        try await node.close().get()
        try await silent.close()
        try await group.shutdownGracefully()
    }

    /// A link sends before it knows its peer, and what follows on a call without another look.
    @Test func onlyMessagesThatStandAloneAreNewer() {
        for kind in 0..<RandomMessages.requestKinds {
            var random = RandomMessages(seed: UInt64(kind))
            let request = random.request(kind)
            let isOld = request.minimumVersion == WireVersion.spoken.lowerBound
            #expect(isOld || !request.mayContinue)
            switch request {
            case .chunk, .commitUpload, .readBody: #expect(isOld)
            default: break
            }
        }
        #expect(StorageRequest.program.minimumVersion == .version3)
        #expect(StorageRequest.users(UserQuery(node: [], digests: [], after: [])).minimumVersion == .version3)
        let account = TableAddress(device: 0, kind: .account, hash: PathHash(high: 1, low: 2))
        let delete = DeleteAccount(table: account, timestamp: Timestamp(rawValue: 1), account: [])
        #expect(StorageRequest.deleteAccount(delete).minimumVersion == .version3)
    }

    // MARK: What the serving side does not know

    @Test func whatTheServerDoesNotKnowFailsAndTheConnectionGoesOn() throws {
        let server = try EmbeddedServer()
        #expect(try server.answer(to: [1, 200], call: 1).failure == .unsupported)
        #expect(try server.answer(to: [1, 20, 99], call: 2).failure == .unsupported)
        #expect(try server.answer(to: [1, 14, 0], call: 3).failure == .malformed)
        #expect(try server.answer(to: [9, 14], call: 4).failure == .malformed)
        let open = Array(Fixture.openUpload.encoded().readableBytesView)
        #expect(try server.answer(to: open, call: 5).acceptedBytes == 0)
        #expect(try server.answer(to: [1, 200], call: 5, kind: .followUp).failure == .unsupported)
        let chunk = Array(Fixture.chunk(3).encoded().readableBytesView)
        #expect(try server.answer(to: chunk, call: 5, kind: .followUp).acceptedBytes == 3)
        guard case .status = try server.answer(to: [1, 14], call: 6) else { throw Unexpected(.absent) }
        #expect(server.isActive)
    }

    /// What a peer of version 2 makes of the code: one call that failed.
    @Test func theCodeOfUnsupportedIsNew() throws {
        #expect(StorageFailure.Reason.unsupported.rawValue == 10)
        let codes = GoldenMessages.replies.compactMap { $0.message.failure?.rawValue }
        #expect(codes.count == 10 && !codes.contains(10))
    }
}

/// A serving connection whose client is the test.
private final class EmbeddedServer {
    private let channel = EmbeddedChannel()
    private var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)

    var isActive: Bool { channel.isActive }

    init() throws {
        let owner = ServerConnection(
            handler: EchoHandler(), limits: WireLimits(), logger: Fixture.silent, recognised: {}, refused: { _ in })
        let connection = WireConnection(
            role: .server, credentials: GoldenSession.credentials, limits: WireLimits(), owner: owner,
            eventLoop: channel.eventLoop)
        try channel.pipeline.syncOperations.addHandler(connection)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        var client = Handshake(
            role: .client, credentials: GoldenSession.credentials, versions: WireVersion.spoken)
        var next = client.begin()
        while let message = next {
            let answer = try exchange(Frame(header: FrameHeader(kind: message.kind), payload: message.payload))
            switch try client.receive(answer) {
            case .send(let message): next = message
            case .finish(let message): next = message
            }
        }
    }

    func answer(to message: [UInt8], call: UInt32, kind: Frame.Kind = .request) throws -> StorageReply {
        let header = FrameHeader(kind: kind, call: 1 << 16 | call, remaining: FrameHeader.noDeadline)
        let answer = try exchange(Frame(header: header, payload: ByteBuffer(bytes: message)))
        #expect(answer.header.kind == .reply && answer.header.call == header.call)
        return try StorageReply(decoding: answer.payload)
    }

    private func exchange(_ frame: Frame) throws -> Frame {
        try channel.writeInbound(GoldenSession.encode(frame))
        channel.embeddedEventLoop.run()
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { decoder.append(bytes) }
        return try #require(try decoder.next())
    }
}
