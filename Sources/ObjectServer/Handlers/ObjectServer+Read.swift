import DeviceLog
import NIOCore
import NIOPosix
import StorageWire
import Synchronization

extension ObjectServer {
    func read(_ read: ReadObject, call: ServerCall) {
        guard let log = device(read.address.device, call: call) else { return }
        let key = ObjectKey(policy: read.address.policy, hash: read.address.hash)
        if !read.isOwn {
            clientRequests.add(1, ordering: .relaxed)
            switch log.standing(.objects(key.policy), key.hash) {
            case .full: break
            case .behind(let source): return readBehind(read, from: log, source: source, call: call)
            case .foreign: return call.reply(.failed(StorageFailure(.busy, "the partition is not this device's")))
            }
        }
        do throws(DeviceLogError) {
            if read.wanted == .version { return call.reply(Self.reply(try log.version(of: key))) }
            answer(try log.object(key, body: Self.body(read.wanted), mayBlock: false), wanted: read.wanted, call: call)
        } catch .wouldBlock {
            readOnWorker(log, key, read.wanted, call)
        } catch {
            call.reply(.failed(StorageFailure(error)))
        }
    }

    func readBody(_ read: ReadBody, call: ServerCall) {
        guard let body = call.session as? OpenBody else {
            return call.reply(.failed(StorageFailure(.malformed, "no body is open on this call")))
        }
        let reader = body.reader
        let place = body.begin()
        guard body.outstanding <= OpenBody.maximumOutstanding else {
            return body.end(place, .failed(StorageFailure(.busy, "too many pieces at once")), call)
        }
        guard read.length > 0, read.length <= ReadBody.maximumLength, read.offset >= 0,
            read.offset <= reader.length - Int64(read.length)
        else { return body.end(place, .failed(StorageFailure(.malformed, "beyond the body")), call) }
        do throws(DeviceLogError) {
            body.end(place, .body(try reader.read(offset: read.offset, length: read.length, mayBlock: false)), call)
        } catch .wouldBlock {
            workers.submit { _ in
                let result = Result { () throws(DeviceLogError) in
                    try reader.read(offset: read.offset, length: read.length, mayBlock: true)
                }
                call.eventLoop.execute {
                    // The call may have ended meanwhile, and have another session.
                    guard let body = call.session as? OpenBody, body.reader === reader else { return }
                    switch result {
                    case .success(let bytes): body.end(place, .body(bytes), call)
                    case .failure(let error): body.end(place, .failed(StorageFailure(error)), call)
                    }
                }
            }
        } catch {
            body.end(place, .failed(StorageFailure(error)), call)
        }
    }

    private func readOnWorker(_ log: DeviceLog, _ key: ObjectKey, _ wanted: ReadObject.Wanted, _ call: ServerCall) {
        workers.submit { [self] _ in
            let result = Result { () throws(DeviceLogError) in
                try log.object(key, body: Self.body(wanted), mayBlock: true)
            }
            call.eventLoop.execute { [self] in
                switch result {
                case .success(let state): answer(state, wanted: wanted, call: call)
                case .failure(let error): call.reply(.failed(StorageFailure(error)))
                }
            }
        }
    }

    private func answer(_ state: ObjectState, wanted: ReadObject.Wanted, call: ServerCall) {
        switch state {
        case .absent: call.reply(.absent)
        case .tombstone(let timestamp): call.reply(.tombstone(Timestamp(rawValue: timestamp)))
        case .live(let object):
            var body: ByteBuffer?
            switch object.body {
            case .inline(let bytes): body = bytes
            case .blob(let reader): if wanted == .body { call.session = OpenBody(reader: reader) }
            }
            call.reply(
                .object(
                    ObjectReply(
                        timestamp: Timestamp(rawValue: object.timestamp),
                        dataTimestamp: Timestamp(rawValue: object.dataTimestamp), head: object.metadata,
                        bodyLength: object.bodyLength, body: wanted == .body ? body : nil)))
        }
    }

    private static func body(_ wanted: ReadObject.Wanted) -> BodyWanted { wanted == .body ? .inline : .none }

    private static func reply(_ version: ObjectVersion) -> StorageReply {
        switch version.kind {
        case .absent: .absent
        case .tombstone: .tombstone(Timestamp(rawValue: version.timestamp))
        case .quarantined: .failed(StorageFailure(.corrupt, "quarantined"))
        case .live:
            .object(
                ObjectReply(
                    timestamp: Timestamp(rawValue: version.timestamp),
                    dataTimestamp: Timestamp(rawValue: version.dataTimestamp), head: ByteBuffer(), bodyLength: 0,
                    body: nil))
        }
    }
}

/// A large body that a call reads from; the open file keeps its bytes whatever is written meanwhile.
///
/// Pieces are read side by side, and some come from memory while others wait for the disk: the answers go out in the order of the messages.
final class OpenBody {
    let reader: BlobReader
    private var begun = 0
    private var answered = 0
    /// Answers that wait for one before them.
    private var waiting: [Int: StorageReply] = [:]

    /// Pieces that may be asked for before the first is answered.
    static let maximumOutstanding = 16

    var outstanding: Int { begun - answered }

    init(reader: BlobReader) { self.reader = reader }

    /// The place of a message in the order.
    func begin() -> Int {
        begun += 1
        return begun - 1
    }

    /// The answer to the message at this place.
    func end(_ place: Int, _ reply: StorageReply, _ call: ServerCall) {
        guard place == answered else {
            waiting[place] = reply
            return
        }
        answered += 1
        call.reply(reply)
        while let next = waiting.removeValue(forKey: answered) {
            answered += 1
            call.reply(next)
        }
    }
}
