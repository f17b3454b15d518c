import Access
import HTTPServer
import NIOCore
import StorageWire

/// What requests for an object have in common.
class ObjectRequest: SwiftRequest {
    /// Name and places of the object in the path; answers 404 when its container is not there.
    func target() -> ObjectTarget? {
        guard case .object(let account, let container, let object) = endpoint, let facts,
            let target = ObjectTarget(
                cluster: loop.cluster, policy: facts.head.policy, account: account, container: container,
                containerHash: facts.hash, object: object)
        else {
            fail(SwiftError(404))
            return nil
        }
        return target
    }

    /// Headers that describe an object, whatever was asked of it.
    func headers(of object: ObjectHead, timestamp: Timestamp, dataTimestamp: Timestamp) -> ResponseHeaders {
        var headers = headers(capacity: 640)
        headers.append("Content-Type", bytes: object.contentType)
        headers.append("Etag", bytes: ByteText.hex(object.etag))
        headers.append("Last-Modified", bytes: SwiftTimestamp.lastModified(timestamp.ticks))
        headers.append("X-Timestamp", bytes: SwiftTimestamp.header(timestamp.ticks))
        headers.append("Accept-Ranges", "bytes")
        if object.deleteAt > 0 { headers.append("X-Delete-At", object.deleteAt) }
        for item in object.headers {
            headers.append(MetadataItem(name: item.name, value: item.value))
        }
        return headers
    }

    /// The object that a replica's answer describes, unless it has expired.
    func live(_ reply: ObjectReply) -> ObjectHead? {
        guard let object = try? ObjectHead(decoding: reply.head), !object.isExpired(at: api.now()) else { return nil }
        return object
    }
}

extension ObjectHead {
    func isExpired(at now: UInt64) -> Bool { deleteAt > 0 && deleteAt <= Int64(clamping: now) }

    /// The metadata as the rules of the API take it.
    var metadata: ObjectMetadata {
        ObjectMetadata(
            contentType: contentType, items: headers.map { MetadataItem(name: $0.name, value: $0.value) },
            deleteAt: deleteAt > 0 ? UInt64(deleteAt) : nil)
    }

    /// The same object with other metadata.
    func with(_ metadata: ObjectMetadata) -> ObjectHead {
        var head = self
        head.contentType = metadata.contentType
        head.deleteAt = Int64(clamping: metadata.deleteAt ?? 0)
        head.headers = metadata.items.map { Header(name: $0.name, value: $0.value) }
        return head
    }

    init(_ target: ObjectTarget, etag: [UInt8], size: Int64, metadata: ObjectMetadata) {
        self = ObjectHead(
            account: target.account, container: target.container, object: target.object, size: size, etag: etag,
            contentType: []
        ).with(metadata)
    }
}

/// POST: new metadata for an object.
final class ObjectPost: ObjectRequest {
    override func run() {
        guard let target = target() else { return }
        do throws(SwiftError) {
            let given = try ObjectHeaders(head, now: loop.timestamps.wallTicks(), constraints: api.constraints)
            ObjectChanges.update(
                loop, target,
                change: { [self] reply in
                    guard let object = live(reply) else { return nil }
                    return object.with(object.metadata.posted(given))
                },
                completion: { [self] outcome in
                    switch outcome {
                    case .missing: fail(SwiftError(404))
                    case .unavailable(let failure): fail(failure)
                    case .stored:
                        var headers = headers()
                        headers.append("Content-Type", "text/html; charset=UTF-8")
                        respond(.accepted, headers, body: ByteBuffer(bytes: SwiftErrorBody.html(202)))
                    }
                })
        } catch {
            fail(error)
        }
    }
}

/// DELETE of an object.
final class ObjectDelete: ObjectRequest {
    private var read: ObjectRead?

    override func run() {
        guard let target = target() else { return }
        let read = ObjectRead(loop, target: target, wanted: .head) { [unowned self] in
            delete(target, after: $0)
        }
        self.read = read
        read.start()
    }

    /// A tombstone is written also where nothing is: an earlier delete may have been cut off before the object's row was gone.
    private func delete(_ target: ObjectTarget, after outcome: ObjectRead.Outcome) {
        read?.end()
        read = nil
        switch outcome {
        case .notFound: delete(target, wasThere: false)
        case .unavailable(let failure): fail(failure)
        case .found(let reply): delete(target, wasThere: live(reply) != nil)
        }
    }

    override func disconnected(_ reason: DisconnectReason) {
        super.disconnected(reason)
        read?.end()
    }

    private func delete(_ target: ObjectTarget, wasThere: Bool) {
        ObjectChanges.delete(loop, target) { [self] outcome in
            switch outcome {
            case .missing: fail(SwiftError(404))
            case .unavailable(let failure): fail(failure)
            case .stored where !wasThere: fail(SwiftError(404))
            case .stored(let timestamp):
                var headers = headers()
                headers.append("Content-Type", "text/html; charset=UTF-8")
                headers.append("X-Timestamp", bytes: SwiftTimestamp.header(timestamp.ticks))
                respond(.noContent, headers)
            }
        }
    }
}
