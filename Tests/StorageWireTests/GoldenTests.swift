import Foundation
import NIOCore
import Testing

@testable import StorageWire

/// Today's program against what programs of version 2 sent, byte for byte. `scripts/record-golden` has recorded `Tests/Fixtures/wire-2.txt`.
@Suite(.timeLimit(.minutes(1)))
struct GoldenTests {
    private let lines: [[String]]

    init() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/wire-2.txt")
        lines = try String(contentsOf: path, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: " ").map(String.init)
        }
    }

    private func recorded(_ kind: String) throws -> [String: ByteBuffer] {
        let found = lines.filter { $0.count == 3 && $0[0] == kind }
        return try Dictionary(uniqueKeysWithValues: found.map { ($0[1], try #require(Hex.decode($0[2]))) })
    }

    @Test func requestsAreWrittenAndReadAsTheyWere() throws {
        let recorded = try recorded("request")
        #expect(recorded.count == GoldenMessages.requests.count)
        for (name, message) in GoldenMessages.requests {
            let bytes = try #require(recorded[name], "\(name)")
            #expect(message.encoded() == bytes, "\(name)")
            #expect(try StorageRequest(decoding: bytes).encoded() == bytes, "\(name)")
            #expect(message.minimumVersion == .version2, "\(name)")
        }
    }

    @Test func repliesAreWrittenAndReadAsTheyWere() throws {
        let recorded = try recorded("reply")
        #expect(recorded.count == GoldenMessages.replies.count)
        for (name, message) in GoldenMessages.replies {
            let bytes = try #require(recorded[name], "\(name)")
            #expect(message.encoded() == bytes, "\(name)")
            #expect(try StorageReply(decoding: bytes).encoded() == bytes, "\(name)")
        }
    }

    private var conversation: [String] {
        lines.filter { ["client", "server"].contains($0[0]) }.map { $0.joined(separator: " ") }
    }

    private static var old: WireLimits {
        var limits = WireLimits()
        limits.versions = .version2 ... .version2
        return limits
    }

    /// A node of then at either end would notice no difference.
    @Test func aClientOfThenIsAnsweredAsThen() async throws {
        let today = try await GoldenSession.record(client: Self.old, server: WireLimits())
        #expect(conversation.count > 80)
        #expect(today == conversation)
    }

    /// Only the hello says that there is something newer, and what is computed from it.
    @Test func aServerOfThenHearsWhatItHeardThen() async throws {
        let today = try await GoldenSession.record(client: WireLimits(), server: Self.old)
        #expect(try calls(today) == calls(conversation))
    }

    /// The frames after the handshake.
    private func calls(_ lines: [String]) throws -> [String] {
        try lines.filter { line in
            let bytes = try #require(Hex.decode(line.dropFirst("client ".count)))
            let frame = try #require(try GoldenSession.frames(bytes).first)
            return ![.hello, .challenge, .proof, .welcome].contains(frame.header.kind)
        }
    }
}
