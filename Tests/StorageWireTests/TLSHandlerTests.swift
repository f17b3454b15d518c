import NIOCore
import NIOEmbedded
import Testing

@testable import StorageWire

/// The handler in channels without a network.
struct TLSHandlerTests {
    private let client: EmbeddedChannel
    private let server: EmbeddedChannel

    init() throws { try self.init(server: Fixture.credentials()) }

    private init(server credentials: WireCredentials, mayEnter: @escaping (Bool) -> Bool = { $0 }) throws {
        client = EmbeddedChannel()
        server = EmbeddedChannel()
        let tls = TLSHandler(TLSEngine(Fixture.credentials().tls, role: .client))
        try client.pipeline.syncOperations.addHandler(tls)
        try server.pipeline.syncOperations.addHandler(FirstByte(credentials.tls, mayEnter: mayEnter))
        try client.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try server.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 2)).wait()
    }

    /// Carries bytes to and fro until there are none.
    private func carry(pieces: Int = .max) throws {
        var isMore = true
        while isMore {
            isMore = false
            for (sender, receiver) in [(client, server), (server, client)] {
                while var bytes = try sender.readOutbound(as: ByteBuffer.self) {
                    isMore = true
                    while let piece = bytes.readSlice(length: min(pieces, bytes.readableBytes)),
                        piece.readableBytes > 0
                    { try receiver.writeInbound(piece) }
                }
            }
        }
    }

    private func heard(_ channel: EmbeddedChannel) throws -> ByteBuffer {
        var all = ByteBuffer()
        while var bytes = try channel.readInbound(as: ByteBuffer.self) { all.writeBuffer(&bytes) }
        return all
    }

    @Test(arguments: [1, 100, .max])
    func whatIsWrittenAtOnceWaitsForTheHandshake(pieces: Int) throws {
        let written = client.eventLoop.makePromise(of: Void.self)
        client.writeAndFlush(ByteBuffer(string: "hello"), promise: written)
        try carry(pieces: pieces)
        try written.futureResult.wait()
        #expect(try heard(server) == ByteBuffer(string: "hello"))
        server.writeAndFlush(ByteBuffer(string: "good day"), promise: nil)
        try carry(pieces: pieces)
        #expect(try heard(client) == ByteBuffer(string: "good day"))
    }

    @Test func whatWaitsForTheHandshakeIsBounded() throws {
        let written = client.eventLoop.makePromise(of: Void.self)
        client.write(ByteBuffer(repeating: 1, count: 60_000), promise: written)
        client.write(ByteBuffer(repeating: 1, count: 60_000), promise: nil)
        #expect(throws: WireError.self) { try written.futureResult.wait() }
        #expect(throws: WireError.self) { try client.throwIfErrorCaught() }
    }

    @Test func aWriteGoesToTheChannelBeforeItIsFlushed() throws {
        try carry()
        let body = ByteBuffer(repeating: 1, count: 1 << 20)
        let written = client.eventLoop.makePromise(of: Void.self)
        client.write(body, promise: written)
        #expect(try client.readOutbound(as: ByteBuffer.self) == nil)
        // The channel has it, so that its own bounds hold for it.
        client.flush()
        try written.futureResult.wait()
        let sent = try #require(try client.readOutbound(as: ByteBuffer.self))
        #expect(sent.readableBytes > body.readableBytes)
        try server.writeInbound(sent)
        #expect(try heard(server) == body)
    }

    @Test func aPeerInTheClearIsLetInWhereItMay() throws {
        let ends = try TLSHandlerTests(server: Fixture.credentials()) { _ in true }
        let hello = ByteBuffer(bytes: [0, 0, 0, 50, 1])
        try ends.server.writeInbound(hello)
        #expect(try ends.heard(ends.server) == hello)
        // Nobody looks at what follows.
        try ends.server.writeInbound(ByteBuffer(bytes: [0x16, 1]))
        #expect(try ends.heard(ends.server) == ByteBuffer(bytes: [0x16, 1]))
    }

    @Test(arguments: [[0, 0, 0, 50, 1], [0x47], [0x17, 3, 3]] as [[UInt8]])
    func aPeerInTheClearIsTurnedAwayWhereItHasToBe(_ says: [UInt8]) throws {
        do {
            try server.writeInbound(ByteBuffer(bytes: says))
            Issue.record("no error")
        } catch let error as WireError {
            guard case .refused(let reason) = error else { throw error }
            #expect(reason.contains("does not encrypt"))
        }
        #expect(try heard(server) == ByteBuffer())
        #expect(try server.readOutbound(as: ByteBuffer.self) == nil)
    }

    @Test func aHalfCloseSendsWhatWasWrittenAndTellsThePeer() throws {
        try carry()
        client.write(ByteBuffer(string: "last words"), promise: nil)
        client.close(mode: .output, promise: nil)
        // An embedded channel does not know half a close, but the words are out.
        let late = client.eventLoop.makePromise(of: Void.self)
        client.write(ByteBuffer(string: "too late"), promise: late)
        #expect(throws: ChannelError.outputClosed) { try late.futureResult.wait() }
        while let bytes = try client.readOutbound(as: ByteBuffer.self) { try server.writeInbound(bytes) }
        #expect(try heard(server) == ByteBuffer(string: "last words"))
        server.embeddedEventLoop.run()
        #expect(!server.isActive)
    }

    @Test func damageIsTold() throws {
        try carry()
        client.writeAndFlush(ByteBuffer(string: "words"), promise: nil)
        var sent = try #require(try client.readOutbound(as: ByteBuffer.self))
        sent.setInteger(UInt8(0), at: sent.readableBytes - 1)
        sent.setInteger(UInt8(0), at: sent.readableBytes - 2)
        #expect(throws: WireError.self) { try server.writeInbound(sent) }
        #expect(try heard(server) == ByteBuffer())
        // An alert, and nothing is taken after it.
        #expect(try server.readOutbound(as: ByteBuffer.self) != nil)
        try server.writeInbound(ByteBuffer(repeating: 1, count: 100))
        #expect(try heard(server) == ByteBuffer())
    }
}
