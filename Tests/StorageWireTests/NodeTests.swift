import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

/// What holds for a node in process and for one over TCP alike, encrypted or not.
@Suite(.timeLimit(.minutes(1)))
struct NodeTests {
    enum Way: CaseIterable {
        case inProcess
        case overTCP
        case encrypted
    }

    private func with(_ way: Way, _ body: (any StorageNode, Loopback) async throws -> Void) async throws {
        let encryption: LinkEncryption = way == .encrypted ? .required : .never
        let loopback = try await Loopback(encryption: encryption)
        switch way {
        case .inProcess: try await body(LocalNode(handler: loopback.handler), loopback)
        case .overTCP, .encrypted:
            try await body(loopback.node, loopback)
            #expect(loopback.server.connections == (1, way == .encrypted ? 1 : 0))
        }
        try await loopback.stop()
    }

    @Test(arguments: Way.allCases)
    func aCallIsAnswered(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let reply = await node.ask(.status, on: loopback.loop)
            guard case .status(let status) = reply else { throw Unexpected(reply) }
            #expect(status == NodeStatus(ringsVersion: 7, devices: []))
        }
    }

    @Test(arguments: Way.allCases)
    func aSlowCallDoesNotHoldUpAnother(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let slow = TestCall(node, Fixture.unanswered, within: .seconds(20), on: loopback.loop)
            _ = await node.ask(.status, on: loopback.loop)
            #expect(slow.answers.count == 0)
            loopback.handler.release()
            guard case .absent = await slow.reply() else { throw Unexpected(await slow.reply()) }
        }
    }

    @Test(arguments: Way.allCases)
    func anUploadTakesChunksAndCommitsAgain(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let upload = TestCall(node, Fixture.openUpload, within: .seconds(10), on: loopback.loop)
            for _ in 0..<4 { upload.send(Fixture.chunk(1 << 20)) }
            upload.send(Fixture.chunk(1))
            #expect(await upload.reply(5).acceptedBytes == 4 << 20 | 1)
            upload.send(Fixture.commit(50))
            guard case .superseded(let newer) = await upload.reply(6) else { throw Unexpected(await upload.reply(6)) }
            upload.send(Fixture.commit(newer.rawValue + 1))
            guard case .stored = await upload.reply(7) else { throw Unexpected(await upload.reply(7)) }
            upload.end()
        }
    }

    @Test(arguments: Way.allCases)
    func aLargeBodyIsPulled(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let size = 3 << 20 | 17
            let read = TestCall(node, Fixture.read(size), within: .seconds(10), on: loopback.loop)
            guard case .object(let object) = await read.reply() else { throw Unexpected(await read.reply()) }
            #expect(object.bodyLength == Int64(size) && object.body == nil)
            var body = ByteBuffer()
            for index in 0..<4 {
                let offset = index << 20
                read.send(.readBody(ReadBody(offset: Int64(offset), length: min(1 << 20, size - offset))))
                guard case .body(let piece) = await read.reply(index + 1) else { throw Unexpected(.absent) }
                body.writeImmutableBuffer(piece)
            }
            #expect(body == EchoHandler.body(from: 0, size))
            read.end()
        }
    }

    @Test(arguments: Way.allCases)
    func endingAnUploadIsHeardByTheHandler(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let upload = TestCall(node, Fixture.openUpload, within: .seconds(10), on: loopback.loop)
            _ = await upload.reply()
            upload.end()
            upload.send(Fixture.chunk(1))
            _ = await node.ask(.status, on: loopback.loop)
            #expect(loopback.handler.record.withLock { $0.sessionsEnded } == 1)
            #expect(upload.answers.count == 1)
        }
    }

    @Test(arguments: Way.allCases)
    func manyCallsKeepTheirAnswersApart(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let loop = loopback.loop
            let answers = Answers()
            try await loop.submit {
                for tag in 0..<2000 {
                    node.call(
                        Fixture.read(tag), deadline: .now() + .seconds(20), on: loop, receiver: answers, tag: tag)
                }
            }.get()
            for (tag, reply) in await answers.first(2000) {
                guard case .object(let object) = reply else { throw Unexpected(reply) }
                #expect(object.body == EchoHandler.body(from: 0, tag))
            }
            #expect(answers.count == 2000)
        }
    }

    @Test(arguments: Way.allCases)
    func aListingMayBeLargerThanAFrame(_ way: Way) async throws {
        try await with(way) { node, loopback in
            let reply = await node.ask(.listTable(ListTable(table: Fixture.table, limit: 10_000)), on: loopback.loop)
            guard case .listing(let listing) = reply else { throw Unexpected(reply) }
            #expect(listing.count == 10_000)
            #expect(listing.entries == ByteBuffer(repeating: 7, count: 10_000_000))
        }
    }
}

/// An answer of another kind than the test is about.
struct Unexpected: Error {
    let reply: StorageReply
    init(_ reply: StorageReply) { self.reply = reply }
}
