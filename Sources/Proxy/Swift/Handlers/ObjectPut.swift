import Access
import Daemon
import HTTPServer
import NIOCore
import StorageWire

/// PUT of an object.
final class ObjectPut: ObjectRequest {
    private var upload: ObjectUpload?
    private var probe: ObjectRead?
    /// The body came to its end before the upload could begin.
    private var hasEnded = false
    private var early: ByteBuffer?
    private var received: UInt64 = 0
    private var givenETag: [UInt8]?

    override func run() {
        guard let target = target() else { return }
        do throws(SwiftError) {
            let length = try BodyLength(head, constraints: api.constraints)
            let metadata = try ObjectMetadata(
                put: head, object: target.object, now: loop.timestamps.wallTicks(), constraints: api.constraints)
            if let etag = head.value(of: "etag"), !etag.isEmpty {
                givenETag = Preconditions.unquoted(etag).map(ASCII.lower)
            }
            if try Preconditions(head).requiresAbsence() {
                probe(target, length, metadata)
            } else {
                begin(target, length, metadata, condition: .none)
            }
        } catch {
            fail(error)
        }
    }

    override func body(_ chunk: ByteBuffer) {
        received += UInt64(chunk.readableBytes)
        guard received <= api.constraints.maxFileSize else {
            upload?.cancel()
            upload = nil
            return fail(SwiftError(413, "Your request is too large."))
        }
        if let upload { return upload.write(chunk) }
        guard !isAnswered else { return }
        // Only what came with the head: the body is paused until rights and container are known.
        if early == nil { early = chunk } else { early?.writeImmutableBuffer(chunk) }
        exchange.pauseBody()
    }

    override func bodyEnded() {
        hasEnded = true
        upload?.finish()
    }

    override func disconnected(_ reason: DisconnectReason) {
        super.disconnected(reason)
        upload?.cancel()
        upload = nil
        probe?.end()
        probe = nil
    }

    /// `If-None-Match: *` is answered before the body is sent; the write itself is conditional again.
    private func probe(_ target: ObjectTarget, _ length: BodyLength, _ metadata: ObjectMetadata) {
        exchange.pauseBody()
        let read = ObjectRead(loop, target: target, wanted: .head) { [self] outcome in
            self.probe?.end()
            self.probe = nil
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .notFound: begin(target, length, metadata, condition: .ifAbsent)
            case .found(let reply):
                guard live(reply) == nil else { return fail(SwiftError(412)) }
                // Expired: to be overwritten like any other.
                begin(target, length, metadata, condition: .none)
            }
        }
        probe = read
        read.start()
    }

    private func begin(
        _ target: ObjectTarget, _ length: BodyLength, _ metadata: ObjectMetadata, condition: PutCondition
    ) {
        var expected: Int64 = -1
        if case .known(let bytes) = length { expected = Int64(clamping: bytes) }
        let upload = ObjectUpload(
            loop, target: target, condition: condition, expectedLength: expected,
            seal: { [self] etag, size in
                if let givenETag, givenETag != ByteText.hex(etag) { return nil }
                api.metrics.bytesIn.add(UInt64(clamping: size))
                return ObjectHead(target, etag: etag, size: size, metadata: metadata)
            },
            completion: { [self] outcome in answer(outcome) })
        upload.onPause = { [self] paused in
            if paused { exchange.pauseBody() } else { exchange.resumeBody() }
        }
        self.upload = upload
        if let early { upload.write(early) }
        early = nil
        if hasEnded { upload.finish() } else { exchange.resumeBody() }
    }

    private func answer(_ outcome: ObjectUpload.Outcome) {
        switch outcome {
        case .exists: fail(SwiftError(412))
        case .refused: fail(SwiftError(422))
        case .unavailable(let failure): fail(failure)
        case .stored(let timestamp, let etag, _):
            var headers = headers()
            headers.append("Content-Type", "text/html; charset=UTF-8")
            headers.append("Etag", bytes: ByteText.hex(etag))
            headers.append("Last-Modified", bytes: SwiftTimestamp.lastModified(timestamp.ticks))
            headers.append("X-Timestamp", bytes: SwiftTimestamp.header(timestamp.ticks))
            respond(.created, headers)
        }
        upload = nil
    }
}
