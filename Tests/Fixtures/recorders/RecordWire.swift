import Foundation
import NIOCore
import Testing

@testable import StorageWire

/// Compiled into the tests of an older program by `scripts/record-golden`: writes what that program makes of the golden messages to `RINGFORT_RECORD`.
struct RecordWire {
    @Test func record() async throws {
        let path = try #require(ProcessInfo.processInfo.environment["RINGFORT_RECORD"])
        var lines = GoldenMessages.requests.map { "request \($0.name) \(Hex.encode($0.message.encoded()))" }
        lines += GoldenMessages.replies.map { "reply \($0.name) \(Hex.encode($0.message.encoded()))" }
        lines += try await GoldenSession.record(client: WireLimits(), server: WireLimits())
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: path))
    }
}
