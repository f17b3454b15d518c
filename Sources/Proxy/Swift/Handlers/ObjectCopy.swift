import Access
import HTTPServer
import NIOCore
import StorageWire

/// COPY of an object, and PUT with `X-Copy-From`: the bytes go from replicas to replicas through here, never to the client.
final class ObjectCopy: ObjectRequest {
    private var read: ObjectRead?
    private var upload: ObjectUpload?
    private var transfer: BodyTransfer?
    private var source: (location: CopyLocation, object: ObjectHead, timestamp: Timestamp)?

    override func run() {
        guard case .object(let account, let container, let object) = endpoint else { return fail(SwiftError(404)) }
        do throws(SwiftError) {
            let here = CopyLocation(account: account, container: container, object: object)
            if head.method == .copy {
                let there = try CopyLocation.destination(head, account: account, constraints: api.constraints)
                // Reading is allowed already.
                guard facts != nil else { return fail(SwiftError(404)) }
                check(there, .write) { [self] destination in open(here, facts, to: there, destination) }
            } else {
                guard let from = try CopyLocation.source(head, account: account, constraints: api.constraints) else {
                    return fail(SwiftError(400))
                }
                check(from, .read) { [self] source in open(from, source, to: here, facts) }
            }
        } catch {
            fail(error)
        }
    }

    override func disconnected(_ reason: DisconnectReason) {
        super.disconnected(reason)
        finish()
    }

    private func finish() {
        transfer?.cancel()
        transfer = nil
        upload?.cancel()
        upload = nil
        read?.end()
        read = nil
    }

    /// The other end of the copy: its container, and whether the caller may do this there.
    private func check(
        _ place: CopyLocation, _ action: Authorization.Action, then: @escaping (ContainerFacts?) -> Void
    ) {
        let question = Authorization.Question(
            action: action, target: .object, account: place.account, referrer: head.value(of: "referer"))
        let identity = identity()
        lookUp(account: place.account, container: place.container) { [self] facts in
            let decision = Authorization.decide(
                question, identity: identity, containerRead: facts?.readACL, containerWrite: facts?.writeACL,
                accountACL: nil)
            switch decision {
            case .allow: then(facts)
            case .unauthenticated: fail(SwiftError(401))
            case .forbidden: fail(SwiftError(403))
            }
        }
    }

    private func open(
        _ from: CopyLocation, _ source: ContainerFacts?, to: CopyLocation, _ destination: ContainerFacts?
    ) {
        guard let source, let destination,
            let sourceTarget = ObjectTarget(
                cluster: loop.cluster, policy: source.head.policy, account: from.account, container: from.container,
                containerHash: source.hash, object: from.object),
            let target = ObjectTarget(
                cluster: loop.cluster, policy: destination.head.policy, account: to.account, container: to.container,
                containerHash: destination.hash, object: to.object)
        else { return fail(SwiftError(404)) }
        let read = ObjectRead(loop, target: sourceTarget, wanted: .body, newest: true) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): stop { fail(failure) }
            case .notFound: stop { fail(SwiftError(Preconditions(head).missingStatus)) }
            case .found(let reply): copy(reply, from, to: target)
            }
        }
        self.read = read
        read.start()
    }

    private func stop(_ answer: () -> Void) {
        answer()
        finish()
    }

    private func copy(_ reply: ObjectReply, _ from: CopyLocation, to target: ObjectTarget) {
        guard let object = live(reply) else { return stop { fail(SwiftError(404)) } }
        if Preconditions(head).evaluate(etag: ByteText.hex(object.etag), timestamp: reply.timestamp.ticks) != .proceed {
            return stop { fail(SwiftError(412)) }
        }
        source = (from, object, reply.timestamp)
        let metadata: ObjectMetadata
        do throws(SwiftError) {
            metadata = try object.metadata.copied(
                head, keepsManifest: try parameters().value(of: "multipart-manifest").map { $0.equals("get") } ?? false,
                now: loop.timestamps.wallTicks(), constraints: api.constraints)
        } catch {
            return stop { fail(error) }
        }
        let upload = ObjectUpload(
            loop, target: target, condition: .none, expectedLength: object.size,
            seal: { etag, size in ObjectHead(target, etag: etag, size: size, metadata: metadata) },
            completion: { [self] outcome in answer(outcome) })
        self.upload = upload
        if let body = reply.body {
            upload.write(body)
            return upload.finish()
        }
        stream(reply, into: upload)
    }

    private func stream(_ reply: ObjectReply, into upload: ObjectUpload) {
        guard let read else { return }
        let transfer = read.pull(
            0..<reply.bodyLength, of: reply, onChunk: { upload.write($0) },
            onEnd: { [self] whole in
                self.transfer = nil
                guard whole else { return stop { fail(SwiftError(503)) } }
                upload.finish()
            })
        self.transfer = transfer
        upload.onPause = { [self] paused in
            if paused { self.transfer?.pause() } else { self.transfer?.resume() }
        }
        transfer.resume()
    }

    private func answer(_ outcome: ObjectUpload.Outcome) {
        switch outcome {
        case .exists, .refused: fail(SwiftError(412))
        case .unavailable(let failure): fail(failure)
        case .stored(let timestamp, let etag, _): created(timestamp, etag)
        }
        upload = nil
        finish()
    }

    private func created(_ timestamp: Timestamp, _ etag: [UInt8]) {
        var headers = headers(capacity: 640)
        headers.append("Content-Type", "text/html; charset=UTF-8")
        headers.append("Etag", bytes: ByteText.hex(etag))
        headers.append("Last-Modified", bytes: SwiftTimestamp.lastModified(timestamp.ticks))
        headers.append("X-Timestamp", bytes: SwiftTimestamp.header(timestamp.ticks))
        if let source {
            let path = source.location.container + [UInt8(ascii: "/")] + source.location.object
            headers.append("X-Copied-From", bytes: PercentEncoding.encoded(path))
            headers.append("X-Copied-From-Account", bytes: PercentEncoding.encoded(source.location.account))
            headers.append("X-Copied-From-Last-Modified", bytes: SwiftTimestamp.lastModified(source.timestamp.ticks))
            for item in source.object.headers {
                headers.append(MetadataItem(name: item.name, value: item.value))
            }
        }
        respond(.created, headers)
    }
}
