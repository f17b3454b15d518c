import NIOCore
import Ring
import Testing

@testable import StorageWire

struct MessageCodecTests {
    /// The encoding names every field once, so a message that was read wrongly is not written as it was.
    @Test(arguments: 0..<RandomMessages.requestKinds)
    func requestsComeBackAsTheyWent(_ kind: Int) throws {
        for seed in UInt64(0)..<40 {
            var random = RandomMessages(seed: seed)
            let message = random.request(kind).encoded()
            #expect(try StorageRequest(decoding: message).encoded() == message, "seed \(seed)")
        }
    }

    @Test(arguments: 0..<RandomMessages.replyKinds)
    func repliesComeBackAsTheyWent(_ kind: Int) throws {
        for seed in UInt64(0)..<40 {
            var random = RandomMessages(seed: seed)
            let message = random.reply(kind).encoded()
            #expect(try StorageReply(decoding: message).encoded() == message, "seed \(seed)")
        }
    }

    @Test func aPutIsLaidOutAsDocumented() throws {
        let put = StorageRequest.putObject(
            PutObject(
                address: ObjectAddress(device: 0x0102, policy: 3, hash: PathHash(high: 4, low: 5)),
                timestamp: Timestamp(rawValue: 6), condition: .ifAbsent,
                row: RowTarget(device: 7, container: PathHash(high: 8, low: 9)), head: ByteBuffer(bytes: [10, 11]),
                body: ByteBuffer(bytes: [12, 13, 14])))
        let bytes: [UInt8] = [
            1, 1, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 1, 1, 0, 7, 0, 0, 0,
            0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 10, 11, 12, 13, 14,
        ]
        #expect(put.encoded() == ByteBuffer(bytes: bytes))
        guard case .putObject(let read) = try StorageRequest(decoding: ByteBuffer(bytes: bytes)) else {
            throw WireError.malformed("another kind")
        }
        #expect(read.row == RowTarget(device: 7, container: PathHash(high: 8, low: 9)))
        #expect(read.body == ByteBuffer(bytes: [12, 13, 14]))
    }

    @Test func repliesAreLaidOutAsDocumented() {
        #expect(StorageReply.stored(rowStored: true).encoded() == ByteBuffer(bytes: [1, 1, 1]))
        #expect(
            StorageReply.superseded(Timestamp(rawValue: 258)).encoded()
                == ByteBuffer(bytes: [1, 3, 0, 0, 0, 0, 0, 0, 1, 2]))
        #expect(
            StorageReply.failed(StorageFailure(.busy, "no")).encoded()
                == ByteBuffer(bytes: [1, 16, 2, 0, 2, 110, 111]))
    }

    /// A body is handed over beside the fields, not copied behind them.
    @Test func bodiesStayWhereTheyAre() {
        var buffer = ByteBuffer()
        let body = ByteBuffer(repeating: 1, count: 1 << 20)
        #expect(StorageReply.body(body).encode(into: &buffer) == body)
        #expect(buffer.readableBytes == 2)
    }

    @Test(
        arguments: [
            [], [1], [2, 1], [1, 0], [1, 15], [1, 200],
            // A change of a worker that nobody knows, and a pace below zero.
            [1, 41, 0, 1, 97, 3], [1, 41, 0, 1, 97, 2, 255, 255, 255, 255, 255, 255, 255, 255],
            // A status with a byte too many.
            [1, 14, 0],
            // A read of 1 MiB and one byte.
            [1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 1],
            // An attempt by a node whose id has 65 bytes.
            [1, 32] + [UInt8](repeating: 0, count: 17) + [65] + [UInt8](repeating: 1, count: 65),
            // A question about users with 257 digests that are not there, one by a node whose id has 65 bytes, one behind a name of 258 bytes.
            [1, 44, 0, 0, 1, 1], [1, 44, 0, 65] + [UInt8](repeating: 1, count: 65) + [0, 0, 0, 0],
            [1, 44, 0, 0, 0, 0, 1, 2] + [UInt8](repeating: 1, count: 258),
            // A read before the beginning.
            [1, 6, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] as [[UInt8]])
    func whatIsNoRequestIsMalformed(_ bytes: [UInt8]) {
        #expect(throws: WireError.self) { try StorageRequest(decoding: ByteBuffer(bytes: bytes)) }
    }

    @Test(
        arguments: [
            [], [1], [1, 0], [1, 17], [1, 1], [1, 1, 2],
            // Failures that nobody knows.
            [1, 16, 0, 0, 0], [1, 16, 200, 0, 0],
            // 256 workers that are not there.
            [1, 40, 1, 0],
            // A status of 4096 devices that are not there.
            [1, 15, 0, 0, 0, 0, 0, 0, 0, 9, 16, 0],
            // A table with 256 sums that are not there.
            [1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            // Users of which nobody knows whether there are more, and more than fit.
            [1, 44, 2], [1, 44, 1] + [UInt8](repeating: 10, count: 1 << 20 + 1),
            // A listing of 10,000 entries that are not there.
            [1, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 39, 16],
        ] as [[UInt8]])
    func whatIsNoReplyIsMalformed(_ bytes: [UInt8]) {
        #expect(throws: WireError.self) { try StorageReply(decoding: ByteBuffer(bytes: bytes)) }
    }

    @Test func longTextsForOperatorsAreCut() throws {
        let reply = StorageReply.failed(StorageFailure(.io, String(repeating: "x", count: 100_000)))
        guard case .failed(let failure) = try StorageReply(decoding: reply.encoded()) else {
            throw WireError.malformed("another kind")
        }
        #expect(failure.detail.utf8.count == 1024)
    }
}
