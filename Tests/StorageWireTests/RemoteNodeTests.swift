import NIOCore
import NIOPosix
import StorageWire
import Synchronization
import Testing

/// What can go wrong between two nodes.
@Suite(.timeLimit(.minutes(1)))
struct RemoteNodeTests {
    @Test func aCallFailsAtItsDeadlineAndTheServerHearsOfIt() async throws {
        let loopback = try await Loopback()
        let late = await loopback.node.ask(Fixture.unanswered, within: .milliseconds(80), on: loopback.loop)
        #expect(late.failure == .deadline)
        let before = await loopback.node.ask(.status, within: .zero, on: loopback.loop)
        #expect(before.failure == .deadline)
        _ = await loopback.node.ask(.status, on: loopback.loop)
        #expect(loopback.handler.record.withLock { $0.ended } == 1)
        #expect(loopback.handler.record.withLock { $0.requests } == 2)
        try await loopback.stop()
    }

    @Test func anUploadHasTheDeadlineAnewForEachMessage() async throws {
        let loopback = try await Loopback()
        let upload = TestCall(loopback.node, Fixture.openUpload, within: .milliseconds(1200), on: loopback.loop)
        for index in 0..<4 {
            _ = await upload.reply(index)
            try await Task.sleep(for: .milliseconds(400))
            upload.send(Fixture.chunk(10))
        }
        #expect(await upload.reply(4).acceptedBytes == 40)
        upload.end()
        try await loopback.stop()
    }

    @Test func whatIsAnsweredAfterTheEndIsNotHeard() async throws {
        let loopback = try await Loopback()
        _ = await loopback.node.ask(.status, on: loopback.loop)
        let call = TestCall(loopback.node, Fixture.slow(300), within: .seconds(5), on: loopback.loop)
        call.end()
        _ = await loopback.node.ask(Fixture.slow(400), on: loopback.loop)
        #expect(call.answers.count == 0)
        try await loopback.stop()
    }

    @Test(arguments: [
        Fixture.credentials(key: "another key of bytes"), Fixture.credentials(cluster: "another cluster"),
    ])
    func aPeerWithoutKeyOrOfAnotherClusterIsNotHeard(_ credentials: WireCredentials) async throws {
        let loopback = try await Loopback(clientCredentials: credentials)
        let reply = await loopback.node.ask(.status, on: loopback.loop)
        #expect(reply.failure == .unreachable)
        #expect(loopback.handler.record.withLock { $0.requests } == 0)
        try await loopback.stop()
    }

    @Test func aServerThatDiesFailsItsCallsAndIsFoundAgain() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let handler = EchoHandler()
        let first = try await serve(handler, port: 0, group)
        let loop = group.next()
        let node = RemoteNode(
            host: "127.0.0.1", port: first.port, group: group, credentials: Fixture.credentials(),
            logger: Fixture.silent)
        let outstanding = TestCall(node, Fixture.unanswered, within: .seconds(20), on: loop)
        let upload = TestCall(node, Fixture.openUpload, within: .seconds(20), on: loop)
        _ = await upload.reply()
        try await first.close(within: .zero).get()
        #expect(await outstanding.reply().failure == .unreachable)
        upload.send(Fixture.chunk(1))
        #expect(await upload.reply(1).failure == .unreachable)
        #expect(handler.record.withLock { $0.sessionsEnded } == 1)
        #expect(await node.ask(.status, on: loop).failure == .unreachable)

        let second = try await serve(handler, port: first.port, group)
        var attempts = 0
        while await node.ask(.status, on: loop).failure == .unreachable, attempts < 500 {
            attempts += 1
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(attempts < 500)
        try await node.close().get()
        try await second.close().get()
        try await group.shutdownGracefully()
    }

    private func serve(_ handler: EchoHandler, port: Int, _ group: any EventLoopGroup) async throws -> StorageServer {
        try await StorageServer.start(
            host: "127.0.0.1", port: port, group: group, handler: handler, credentials: Fixture.credentials(),
            logger: Fixture.silent
        ).get()
    }

    @Test func callsPastTheLimitAreBusy() async throws {
        var limits = WireLimits()
        limits.maximumCalls = 1000
        let loopback = try await Loopback(limits: limits)
        let busy = try await busyOf(3000, loopback)
        #expect(busy == 2000)
        try await loopback.stop()
    }

    @Test func theServerHasALimitOfItsOwn() async throws {
        var limits = WireLimits()
        limits.maximumCalls = 100
        let loopback = try await Loopback(serverLimits: limits)
        let busy = try await busyOf(3000, loopback)
        #expect(busy == 2900)
        try await loopback.stop()
    }

    /// Makes calls that are not answered and counts those that are, with `busy`.
    private func busyOf(_ count: Int, _ loopback: Loopback) async throws -> Int {
        let answers = Answers()
        let loop = loopback.loop
        try await loop.submit {
            for tag in 0..<count {
                loopback.node.call(
                    Fixture.unanswered, deadline: .now() + .seconds(20), on: loop, receiver: answers, tag: tag)
            }
        }.get()
        // On the one connection of the loop, so everything before it has been answered.
        _ = await loopback.node.ask(.status, on: loop)
        return await answers.first(1).filter { $0.reply.failure == .busy }.count
    }

    @Test func whatWaitsToBeSentIsBounded() async throws {
        var limits = WireLimits()
        limits.maximumOutput = 3 << 20
        let loopback = try await Loopback(limits: limits)
        let answers = Answers()
        let loop = loopback.loop
        let put = StorageRequest.chunk(UploadChunk(bytes: ByteBuffer(repeating: 1, count: 1 << 20)))
        try await loop.submit {
            for tag in 0..<10 {
                loopback.node.call(put, deadline: .now() + .seconds(20), on: loop, receiver: answers, tag: tag)
            }
        }.get()
        let replies = await answers.first(10)
        #expect(replies.filter { $0.reply.failure == .busy }.map(\.tag) == Array(3..<10))
        #expect(replies.filter { $0.reply.failure == .malformed }.count == 3)
        try await loopback.stop()
    }

    @Test func aRequestLargerThanAFrameFails() async throws {
        let loopback = try await Loopback()
        let huge = StorageRequest.chunk(UploadChunk(bytes: ByteBuffer(repeating: 1, count: 2 << 20)))
        #expect(await loopback.node.ask(huge, on: loopback.loop).failure == .malformed)
        guard case .status = await loopback.node.ask(.status, on: loopback.loop) else { throw Unexpected(.absent) }
        try await loopback.stop()
    }

    @Test func aServerThatClosesFinishesWhatItHasBegun() async throws {
        let loopback = try await Loopback()
        let slow = TestCall(loopback.node, Fixture.unanswered, within: .seconds(20), on: loopback.loop)
        _ = await loopback.node.ask(.status, on: loopback.loop)
        let closed = loopback.server.close(within: .seconds(20))
        // The listener closes first, then the connections are told.
        while await loopback.node.ask(.status, on: loopback.loop).failure == nil {}
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .closing)
        #expect(slow.answers.count == 0)
        loopback.handler.release()
        guard case .absent = await slow.reply() else { throw Unexpected(await slow.reply()) }
        try await closed.get()
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .unreachable)
        try await loopback.node.close().get()
        #expect(await loopback.node.ask(.status, on: loopback.loop).failure == .closing)
        try await loopback.group.shutdownGracefully()
    }

    @Test func callsOnSeveralLoopsGoTheirOwnWays() async throws {
        let loopback = try await Loopback(threads: 3)
        for loop in loopback.group.makeIterator() {
            guard case .status = await loopback.node.ask(.status, on: loop) else { throw Unexpected(.absent) }
        }
        try await loopback.stop()
    }
}
