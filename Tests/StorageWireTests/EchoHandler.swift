import Logging
import NIOCore
import Ring
import StorageWire
import Synchronization

/// A storage node without storage: what it answers follows from the request alone, and it records how calls went.
///
/// - `readTable` is never answered; `deleteTable` is answered after so many milliseconds as its timestamp says.
/// - `readObject` answers with a body of as many bytes as `hash.low` says, whole up to 256 KiB, else to be pulled.
/// - An upload counts its bytes.
final class EchoHandler: StorageHandler {
    struct Record {
        var requests = 0
        var ended = 0
        var sessionsEnded = 0
        var held: [ServerCall] = []
    }

    final class Upload {
        var bytes = 0
    }

    let record = Mutex(Record())
    static let wholeBody = 256 << 10

    func handle(_ request: StorageRequest, call: ServerCall) {
        record.withLock { $0.requests += 1 }
        switch request {
        case .putObject(let message): call.reply(.superseded(message.timestamp))
        case .openUpload:
            call.session = Upload()
            call.reply(.accepted(bytes: 0))
        case .chunk(let chunk): take(chunk, call)
        case .commitUpload(let commit): finish(commit, call)
        case .readObject(let read): answer(read, call)
        case .readBody(let read): call.reply(.body(Self.body(from: read.offset, read.length)))
        case .deleteObject(let message): call.reply(.tombstone(message.timestamp))
        case .updateObject(let message): call.reply(.baseMismatch(message.base))
        case .putRow: call.reply(.stored(rowStored: true))
        case .updateTable(let message): call.reply(.tableStored(created: message.creates))
        case .deleteTable(let message):
            let time = TimeAmount.milliseconds(Int64(message.timestamp.rawValue))
            call.eventLoop.scheduleTask(in: time) { call.reply(.notEmpty) }
        case .deleteAccount: call.reply(.tableStored(created: false))
        case .readTable: record.withLock { $0.held.append(call) }
        case .listTable(let message):
            let entries = ByteBuffer(repeating: 7, count: message.limit * 1000)
            let table = TableReply(head: nil, sums: [], digest: 1, lastChange: .never)
            call.reply(.listing(ListingReply(table: table, count: message.limit, entries: entries)))
        case .status: call.reply(.status(NodeStatus(ringsVersion: 7, devices: [])))
        case .replication: call.reply(.failed(StorageFailure(.malformed, "not for an echo")))
        case .workers, .setWorker: call.reply(.workers([]))
        case .verifyObject: call.reply(.absent)
        case .prepareMap(let message): call.reply(.mapRefused(message.ballot))
        case .acceptMap: call.reply(.mapAccepted)
        case .learnMap(let message):
            call.reply(.mapStanding(MapStanding(node: [1], version: message.version, clock: 2)))
        case .readMap(let version):
            call.reply(.map(MapStanding(node: [1], version: version + 1, clock: 2), ByteBuffer(bytes: [3])))
        case .changeMap(let change): call.reply(.mapChanged(change))
        case .users(let query): call.reply(.users(UserPage(lines: ByteBuffer(bytes: query.after), isWhole: true)))
        case .program:
            call.reply(.program(ProgramReport(version: "1", build: "2", wire: WireVersion.spoken)))
        }
    }

    func ended(_ call: ServerCall) {
        record.withLock {
            $0.ended += 1
            if call.session != nil { $0.sessionsEnded += 1 }
        }
    }

    private func take(_ chunk: UploadChunk, _ call: ServerCall) {
        guard let upload = call.session as? Upload else {
            return call.reply(.failed(StorageFailure(.malformed, "no upload")))
        }
        upload.bytes += chunk.bytes.readableBytes
        call.reply(.accepted(bytes: upload.bytes))
    }

    private func finish(_ commit: CommitUpload, _ call: ServerCall) {
        guard commit.timestamp.rawValue > 100 else { return call.reply(.superseded(Timestamp(rawValue: 100))) }
        call.session = nil
        call.reply(.stored(rowStored: commit.row != nil))
    }

    private func answer(_ read: ReadObject, _ call: ServerCall) {
        let length = Int(read.address.hash.low)
        let isWhole = length <= Self.wholeBody
        call.reply(
            .object(
                ObjectReply(
                    timestamp: Timestamp(rawValue: 2), dataTimestamp: Timestamp(rawValue: 1), head: ByteBuffer(),
                    bodyLength: Int64(length), body: isWhole && read.wanted == .body ? Self.body(from: 0, length) : nil)
            ))
    }

    /// Bytes that differ from place to place; quick to make, for a debug build.
    static func body(from offset: Int64, _ length: Int) -> ByteBuffer {
        let start = Int(offset % Int64(period.count))
        var body = ByteBuffer()
        body.reserveCapacity(length + 2 * period.count)
        while body.readableBytes < length + start { body.writeBytes(period) }
        return body.getSlice(at: start, length: length)!
    }

    private static let period = (0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    /// Answers what is held.
    func release(_ reply: StorageReply = .absent) {
        for call in record.withLock({ $0.held }) {
            call.eventLoop.execute { call.reply(reply) }
        }
    }
}
