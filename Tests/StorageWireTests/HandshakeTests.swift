import NIOCore
import Testing

@testable import StorageWire

struct HandshakeTests {
    private func credentials(key: String = "a key of many bytes", cluster: String = "cluster", nonce: UInt8 = 1)
        -> WireCredentials
    {
        WireCredentials(clusterId: Array(cluster.utf8), key: ClusterKey(Array(key.utf8))!) {
            [UInt8](repeating: nonce, count: $0)
        }
    }

    private func client(_ credentials: WireCredentials, _ versions: ClosedRange<UInt16> = 2...3) -> Handshake {
        Handshake(role: .client, credentials: credentials, versions: Self.versions(versions))
    }

    private func server(_ credentials: WireCredentials, _ versions: ClosedRange<UInt16> = 2...3) -> Handshake {
        Handshake(role: .server, credentials: credentials, versions: Self.versions(versions))
    }

    private static func versions(_ range: ClosedRange<UInt16>) -> ClosedRange<WireVersion> {
        WireVersion(rawValue: range.lowerBound)...WireVersion(rawValue: range.upperBound)
    }

    private func frame(_ message: Handshake.Message?) throws -> Frame {
        let message = try #require(message)
        return Frame(header: FrameHeader(kind: message.kind), payload: message.payload)
    }

    private func sent(_ step: Handshake.Step) throws -> Frame {
        switch step {
        case .send(let message): try frame(message)
        case .finish(let message): try frame(message)
        }
    }

    @Test func peersWithTheKeyComeTogether() throws {
        var client = client(credentials(nonce: 1))
        var server = server(credentials(nonce: 2))
        let nothing = server.begin()
        #expect(nothing == nil)
        let hello = try frame(client.begin())
        #expect(hello.header.kind == .hello)
        let challenge = try sent(server.receive(hello))
        #expect(challenge.header.kind == .challenge)
        let proof = try sent(client.receive(challenge))
        #expect(proof.header.kind == .proof && proof.payload.readableBytes == 32)
        let step = try server.receive(proof)
        guard case .finish(let welcome?) = step else { throw WireError.malformed("the server goes on") }
        #expect(welcome.payload != proof.payload)
        let end = try client.receive(frame(welcome))
        #expect(end == .finish(nil))
    }

    @Test func aClientWithoutTheKeyIsRefused() throws {
        var client = client(credentials(key: "another key of bytes"))
        var server = server(credentials())
        let challenge = try sent(server.receive(frame(client.begin())))
        let proof = try sent(client.receive(challenge))
        #expect(throws: WireError.refused("peer does not hold the cluster's key")) { try server.receive(proof) }
        #expect(throws: WireError.self) { try server.receive(proof) }
    }

    @Test func aServerWithoutTheKeyIsRefused() throws {
        var client = client(credentials())
        var server = server(credentials())
        _ = try client.receive(sent(server.receive(frame(client.begin()))))
        let forged = Frame(header: FrameHeader(kind: .welcome), payload: ByteBuffer(repeating: 3, count: 32))
        #expect(throws: WireError.refused("peer does not hold the cluster's key")) { try client.receive(forged) }
    }

    @Test func aCodeSentBackProvesNothing() throws {
        var client = client(credentials())
        var server = server(credentials())
        var proof = try sent(client.receive(sent(server.receive(frame(client.begin())))))
        proof.header.kind = .welcome
        #expect(throws: WireError.self) { try client.receive(proof) }
    }

    @Test func aRecordedProofIsOfNoUseTheNextTime() throws {
        var client = client(credentials(nonce: 1))
        var first = server(credentials(nonce: 2))
        let hello = try frame(client.begin())
        let proof = try sent(client.receive(sent(first.receive(hello))))
        var second = server(credentials(nonce: 3))
        _ = try second.receive(hello)
        #expect(throws: WireError.self) { try second.receive(proof) }
    }

    @Test func anotherClusterIsRefused() throws {
        var client = client(credentials(cluster: "other"))
        var server = server(credentials())
        let hello = try frame(client.begin())
        #expect(throws: WireError.refused("peer is of another cluster")) { try server.receive(hello) }
    }

    private static let ranges: [ClosedRange<UInt16>] = (1...4).flatMap { oldest in (oldest...4).map { oldest...$0 } }

    /// What both speak is used, the newest of it; without any there is no connection.
    @Test(arguments: ranges, ranges)
    func theNewestCommonVersionIsChosen(_ clients: ClosedRange<UInt16>, _ servers: ClosedRange<UInt16>) throws {
        var client = client(credentials(nonce: 1), clients)
        var server = server(credentials(nonce: 2), servers)
        let hello = try frame(client.begin())
        let common = (1...4).filter { clients.contains($0) && servers.contains($0) }.max()
        guard let common else {
            let text =
                "peer speaks versions \(clients.lowerBound) to \(clients.upperBound), not \(servers.lowerBound) to \(servers.upperBound)"
            #expect(throws: WireError.refused(text)) { try server.receive(hello) }
            return
        }
        let challenge = try sent(server.receive(hello))
        let proof = try sent(client.receive(challenge))
        let welcome = try sent(server.receive(proof))
        #expect(try client.receive(welcome) == .finish(nil))
        #expect(client.version?.rawValue == common)
        #expect(server.version?.rawValue == common)
    }

    /// Who sits between two nodes can't have them speak an older version than they would.
    @Test func aVersionThatWasChangedUnderWayIsNoticed() throws {
        var client = client(credentials(nonce: 1))
        var server = server(credentials(nonce: 2))
        var hello = try frame(client.begin())
        hello.payload.setInteger(UInt16(2), at: 6)
        let challenge = try sent(server.receive(hello))
        #expect(server.version == .version2)
        let proof = try sent(client.receive(challenge))
        #expect(throws: WireError.refused("peer does not hold the cluster's key")) { try server.receive(proof) }
    }

    @Test func aChoiceThatWasChangedUnderWayIsNoticed() throws {
        var client = client(credentials(nonce: 1))
        var server = server(credentials(nonce: 2))
        var challenge = try sent(server.receive(frame(client.begin())))
        challenge.payload.setInteger(UInt16(2), at: 0)
        let proof = try sent(client.receive(challenge))
        #expect(throws: WireError.refused("peer does not hold the cluster's key")) { try server.receive(proof) }
    }

    @Test func aVersionThatWasNotOfferedIsRefused() throws {
        var client = client(credentials())
        var server = server(credentials())
        var challenge = try sent(server.receive(frame(client.begin())))
        challenge.payload.setInteger(UInt16(4), at: 0)
        #expect(throws: WireError.refused("peer chose version 4, which was not offered")) {
            try client.receive(challenge)
        }
    }

    @Test func aHelloWithoutAnyVersionIsMalformed() throws {
        var client = client(credentials())
        var server = server(credentials())
        var hello = try frame(client.begin())
        hello.payload.setInteger(UInt16(9), at: 4)
        #expect(throws: WireError.malformed("versions 9 to 3")) { try server.receive(hello) }
    }

    @Test func aRequestBeforeTheProofIsMalformed() {
        var server = server(credentials())
        #expect(throws: WireError.self) {
            try server.receive(Frame(header: FrameHeader(kind: .request), payload: ByteBuffer()))
        }
    }

    @Test func theKeyIsNotShown() throws {
        let key = try #require(ClusterKey(Array("a key of many bytes".utf8)))
        #expect("\(key)" == "ClusterKey(hidden)")
        #expect(String(reflecting: key) == "ClusterKey(hidden)")
        var text = ""
        dump(key, to: &text)
        #expect(!text.contains("97"))
        #expect(ClusterKey([UInt8](repeating: 1, count: 15)) == nil)
    }

    /// Test case 1 of RFC 4231.
    @Test func theCodeIsHMACOfSHA256() throws {
        let key = try #require(ClusterKey([UInt8](repeating: 0x0b, count: 20)))
        let code = key.code(for: Array("Hi There".utf8))
        #expect(Array(code.prefix(8)) == [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53])
        #expect(key.verifies(code, for: Array("Hi There".utf8)))
        #expect(!key.verifies(Array(code.dropLast()), for: Array("Hi There".utf8)))
    }
}
