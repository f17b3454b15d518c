package import NIOCore
package import StorageWire

/// Takes a body from a client and makes it an object: durable on a majority, listed on a majority, then acknowledged.
///
/// Bodies up to `StoreLimits.inlineBody` travel in one message; larger ones stream to all replicas at once while they arrive, hashed
/// on worker threads. Bound to its event loop.
package final class ObjectUpload {
    package enum Outcome {
        case stored(Timestamp, etag: [UInt8], size: Int64)
        /// `ifAbsent`, but an object is there.
        case exists
        /// `seal` refused (a checksum that the client sent does not match, say).
        case refused
        case unavailable(StorageFailure)
    }

    private let loop: ProxyLoop
    private let target: ObjectTarget
    private let condition: PutCondition
    private let expectedLength: Int64
    private let seal: ([UInt8], Int64) -> ObjectHead?
    private var completion: ((Outcome) -> Void)?
    /// Told to stop and go on reading the client.
    package var onPause: ((Bool) -> Void)?

    private var digest = BodyDigest()
    private var small: ByteBuffer?
    private var stream: UploadStream?
    private var size: Int64 = 0
    private var isPaused = false
    private var write: ReplicatedWrite?
    private var fanOut: FanOut?

    /// - Parameters:
    ///   - expectedLength: the body's length, -1 when the client did not say.
    ///   - seal: is given ETag (MD5, 16 bytes) and size when the body is whole, and makes the head; `nil` refuses the object.
    package init(
        _ loop: ProxyLoop, target: ObjectTarget, condition: PutCondition, expectedLength: Int64,
        seal: @escaping ([UInt8], Int64) -> ObjectHead?, completion: @escaping (Outcome) -> Void
    ) {
        self.loop = loop
        self.target = target
        self.condition = condition
        self.expectedLength = expectedLength
        self.seal = seal
        self.completion = completion
    }

    /// The next bytes of the body.
    package func write(_ chunk: ByteBuffer) {
        guard completion != nil, chunk.readableBytes > 0 else { return }
        size += Int64(chunk.readableBytes)
        if let stream { return stream.write(chunk) }
        if size <= Int64(loop.limits.inlineBody), expectedLength <= Int64(loop.limits.inlineBody) {
            if small == nil { small = chunk } else { small?.writeImmutableBuffer(chunk) }
            return
        }
        openStream()
        if let small { stream?.write(small) }
        small = nil
        stream?.write(chunk)
    }

    /// The body is whole.
    package func finish() {
        guard completion != nil else { return }
        if let stream { return stream.finish() }
        let body = small ?? ByteBuffer()
        small = nil
        digest.update(body)
        let etag = digest.finish()
        guard let head = seal(etag, size) else { return end(.refused) }
        putSmall(head, body: body, etag: etag)
    }

    /// The client went away: nothing becomes visible, what was staged is given back.
    package func cancel() {
        completion = nil
        release()
    }

    private func putSmall(_ head: ObjectHead, body: ByteBuffer, etag: [UInt8]) {
        let fanOut = makeFanOut()
        let encoded = head.encoded()
        let timeout = loop.limits.writeTimeout
        func request(_ index: Int, _ device: UInt16, _ timestamp: Timestamp) -> StorageRequest {
            var address = target.address(index)
            address.device = device
            return .putObject(
                PutObject(
                    address: address, timestamp: timestamp, condition: condition, row: target.row(index), head: encoded,
                    body: body))
        }
        begin(
            head, etag: etag,
            send: { [unowned self] index, timestamp in
                let device = target.primaries[index]
                fanOut.ask(request(index, device, timestamp), device: device, index: index, timeout: timeout)
            },
            sendToHandoff: { [unowned self] index, timestamp in
                guard let device = target.handoff(cluster: loop.cluster, index: index) else { return }
                let place = target.primaries.count + index
                fanOut.ask(request(index, device, timestamp), device: device, index: place, timeout: timeout)
            })
    }

    private func openStream() {
        let stream = UploadStream(loop, target: target, expectedLength: expectedLength, digest: digest)
        self.stream = stream
        stream.onPause = { [unowned self] paused in onPause?(paused) }
        stream.onFailure = { [unowned self] failure in end(.unavailable(failure)) }
        stream.onWhole = { [unowned self] etag in commit(stream, etag: etag) }
        stream.onCommitReply = { [unowned self] reply, index in write?.receive(reply, from: index) }
        stream.open()
    }

    private func commit(_ stream: UploadStream, etag: [UInt8]) {
        guard let head = seal(etag, size) else { return end(.refused) }
        let encoded = head.encoded()
        _ = makeFanOut()
        begin(
            head, etag: etag,
            send: { [unowned self] index, timestamp in
                stream.commit(
                    CommitUpload(
                        timestamp: timestamp, condition: condition, row: target.row(index), head: encoded),
                    index: index)
            },
            // The bytes are gone by: the replicator makes up for a replica that was lost on the way.
            sendToHandoff: { _, _ in })
    }

    private func makeFanOut() -> FanOut {
        let fanOut = FanOut(loop) { [unowned self] reply, index in write?.receive(reply, from: index) }
        self.fanOut = fanOut
        return fanOut
    }

    private func begin(
        _ head: ObjectHead, etag: [UInt8], send: @escaping (Int, Timestamp) -> Void, sendToHandoff: @escaping (Int, Timestamp) -> Void
    ) {
        var shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        shape.leaderFirst = condition == .ifAbsent
        shape.refuses = { if case .conditionFailed = $0 { true } else { false } }
        let write = ReplicatedWrite(
            loop, shape: shape, send: send, sendToHandoff: sendToHandoff,
            sendRow: { [unowned self] index, timestamp, place in
                let row = TableRow(object: head, policy: target.policy, timestamp: timestamp)
                guard let message = target.putRow(index, row) else { return }
                fanOut?.ask(
                    .putRow(message), device: message.table.device, index: place, timeout: loop.limits.writeTimeout)
            }
        ) { [unowned self] result in
            switch result {
            case .stored(let timestamp): end(.stored(timestamp, etag: etag, size: size))
            case .refused: end(.exists)
            case .unavailable(let failure): end(.unavailable(failure))
            }
        }
        self.write = write
        write.start()
    }

    private func end(_ outcome: Outcome) {
        let completion = completion
        self.completion = nil
        completion?(outcome)
        release()
    }

    /// Calls that still wait for a third replica go on without us: a small write is under way and needs nothing more.
    private func release() {
        write?.cancel()
        stream?.end()
        fanOut?.detach()
        // The closures of the write hold the body, and this upload.
        write = nil
        stream = nil
        fanOut = nil
        onPause = nil
    }
}
