import NIOCore
import Testing

@testable import StorageWire

/// Two ends and what they say to each other, without a network.
struct TLSEngineTests {
    private let client: TLSEngine
    private let server: TLSEngine

    init() { self.init(Fixture.credentials(), Fixture.credentials()) }

    private init(
        _ client: WireCredentials, _ server: WireCredentials, recordsPerKey: Int = TLSEngine.recordsPerKey
    ) {
        self.client = TLSEngine(client.tls, role: .client, recordsPerKey: recordsPerKey)
        self.server = TLSEngine(server.tls, role: .server, recordsPerKey: recordsPerKey)
    }

    /// What the peer of an end has to say, in pieces of that size.
    private func pass(from sender: TLSEngine, to receiver: TLSEngine, pieces: Int = .max) throws(WireError) {
        guard var bytes = sender.takeOutput() else { return }
        while let piece = bytes.readSlice(length: min(pieces, bytes.readableBytes)), piece.readableBytes > 0 {
            receiver.receive(piece)
            if !receiver.isEstablished { _ = try receiver.shakeHands() }
        }
    }

    private func shakeHands(pieces: Int = .max) throws(WireError) {
        _ = try client.shakeHands()
        try pass(from: client, to: server, pieces: pieces)
        try pass(from: server, to: client, pieces: pieces)
        try pass(from: client, to: server, pieces: pieces)
    }

    @Test(arguments: [1, 7, .max])
    func bothEndsShakeHands(pieces: Int) throws {
        try shakeHands(pieces: pieces)
        #expect(client.isEstablished && server.isEstablished)
        // No tickets: nobody takes a session up again.
        #expect(try client.read() == nil)
        #expect(server.takeOutput() == nil)
    }

    @Test(arguments: [0, 1, 5000, 16 << 10, 16 << 10 | 1, 1 << 20 | 17])
    func whatIsSaidArrives(count: Int) throws {
        try shakeHands()
        for (sender, receiver) in [(client, server), (server, client)] {
            let said = EchoHandler.body(from: 0, count)
            let sent = try sender.encrypt(said)
            #expect(count < 64 || sent.readableBytesView.firstRange(of: said.readableBytesView.prefix(32)) == nil)
            receiver.receive(sent)
            #expect(try receiver.read() ?? ByteBuffer() == said)
        }
    }

    @Test func whatArrivesByteByByteIsTheSame() throws {
        try shakeHands()
        let said = EchoHandler.body(from: 0, 40_000)
        var sent = try client.encrypt(said)
        var heard = ByteBuffer()
        while let byte = sent.readSlice(length: 1) {
            server.receive(byte)
            if var more = try server.read() { heard.writeBuffer(&more) }
        }
        #expect(heard == said)
    }

    @Test func oneSaysTheSameTwiceInOtherWords() throws {
        try shakeHands()
        let said = ByteBuffer(repeating: 7, count: 100)
        #expect(try client.encrypt(said) != client.encrypt(said))
    }

    @Test func theKeyIsChangedWhenItIsWornOut() throws {
        let ends = TLSEngineTests(Fixture.credentials(), Fixture.credentials(), recordsPerKey: 3)
        try ends.shakeHands()
        let said = ByteBuffer(repeating: 7, count: 100)
        var lengths: [Int] = []
        for _ in 0..<20 {
            let sent = try ends.client.encrypt(said)
            lengths.append(sent.readableBytes)
            ends.server.receive(sent)
            #expect(try ends.server.read() == said)
        }
        // With every fourth record goes the message that says so.
        #expect(Set(lengths).count == 2 && lengths[3] > lengths[2] && lengths[4] == lengths[2])
        // The other direction has a key of its own.
        ends.client.receive(try ends.server.encrypt(said))
        #expect(try ends.client.read() == said)
    }

    @Test func whoHasAnotherKeyGetsNothing() throws {
        let ends = TLSEngineTests(Fixture.credentials(key: "another key of bytes"), Fixture.credentials())
        #expect(throws: WireError.refused("peer does not hold the cluster's key (TLS)")) { try ends.shakeHands() }
        let alert = try #require(ends.server.takeOutput())
        #expect(alert.readableBytes == 7)
        ends.client.receive(alert)
        do {
            _ = try ends.client.shakeHands()
            Issue.record("no error")
        } catch {
            guard case .refused(let reason) = error else { throw error }
            #expect(reason.contains("does not accept the cluster's key"))
        }
    }

    @Test func whoIsOfAnotherClusterGetsNothing() throws {
        let ends = TLSEngineTests(Fixture.credentials(cluster: "another"), Fixture.credentials())
        #expect(throws: WireError.refused("peer shows no key of this cluster (TLS)")) { try ends.shakeHands() }
        #expect(ends.server.takeOutput()?.readableBytes == 7)
    }

    @Test(arguments: UInt64(0)..<50)
    func aFlippedBitIsFound(seed: UInt64) throws {
        try shakeHands()
        var random = SeededGenerator(seed: seed)
        var sent = try client.encrypt(ByteBuffer(repeating: 1, count: 20_000))
        let index = Int(random.next() % UInt64(sent.readableBytes))
        sent.setInteger(sent.getInteger(at: index, as: UInt8.self)! ^ 4, at: index)
        server.receive(sent)
        // A length that became greater is found with the next record.
        server.receive(try client.encrypt(ByteBuffer(repeating: 1, count: 70_000)))
        #expect(throws: WireError.self) { while try server.read() != nil {} }
    }

    @Test func recordsDoNotChangePlaces() throws {
        try shakeHands()
        let first = try client.encrypt(ByteBuffer(string: "first"))
        let second = try client.encrypt(ByteBuffer(string: "second"))
        server.receive(second)
        server.receive(first)
        #expect(throws: WireError.self) { try server.read() }
    }

    @Test(arguments: UInt64(0)..<100)
    func noiseIsRefused(seed: UInt64) {
        var random = RandomMessages(seed: seed)
        for role in [Handshake.Role.client, .server] {
            let engine = TLSEngine(Fixture.credentials().tls, role: role)
            _ = try? engine.shakeHands()
            _ = engine.takeOutput()
            engine.receive(random.buffer(4096))
            #expect((try? engine.shakeHands()) != true)
        }
    }

    @Test func theEndIsHeardAfterWhatWasSaidBefore() throws {
        try shakeHands()
        server.receive(try client.encrypt(ByteBuffer(string: "last words")))
        client.end()
        server.receive(try #require(client.takeOutput()))
        #expect(try server.read() == ByteBuffer(string: "last words"))
        #expect(server.isEnded)
        // The other direction is still open.
        client.receive(try server.encrypt(ByteBuffer(string: "an answer")))
        #expect(try client.read() == ByteBuffer(string: "an answer"))
    }
}
