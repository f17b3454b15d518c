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
        putSmall(head: head, body: body, etag: etag)
    }

    /// The client went away: nothing becomes visible, what was staged is given back.
    package func cancel() {
        completion = nil
        release()
    }

    private func putSmall(head: ObjectHead, body: ByteBuffer, etag: [UInt8]) {
        let fanOut = openFanOut()
        let encoded = head.encoded()
        let timeout = loop.limits.writeTimeout
        func ask(_ device: UInt16, _ row: RowTarget?, _ timestamp: Timestamp, place: Int) {
            let put = PutObject(
                address: ObjectAddress(device: device, policy: target.policy, hash: target.hash),
                timestamp: timestamp, condition: condition, row: row, head: encoded, body: body)
            fanOut.ask(.putObject(put), device: device, index: place, timeout: timeout)
        }
        begin(
            head, etag: etag,
            send: { [unowned self] index, timestamp in
                ask(target.primaries[index], target.row(index), timestamp, place: index)
            },
            sendToHandoff: { [unowned self] index, timestamp in
                guard let device = target.handoff(index: index) else { return }
                ask(device, nil, timestamp, place: places.handoff(index))
            })
    }

    /// For what travels in one message: small objects, and the rows of primaries that are away.
    private func openFanOut() -> FanOut {
        if let fanOut { return fanOut }
        let fanOut = FanOut(loop) { [unowned self] reply, place in
            switch places.role(of: place) {
            case .primary(let index): write?.receive(reply, from: index)
            case .handoff: break
            case .row(let index): write?.receiveRow(reply, from: index)
            }
        }
        self.fanOut = fanOut
        return fanOut
    }

    private var places: WritePlaces { WritePlaces(primaries: target.primaries.count) }

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

    private func begin(
        _ head: ObjectHead, etag: [UInt8], send: @escaping (Int, Timestamp) -> Void,
        sendToHandoff: @escaping (Int, Timestamp) -> Void
    ) {
        var shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        shape.leaderFirst = condition == .ifAbsent
        shape.refuses = { reply, _ in if case .conditionFailed = reply { true } else { false } }
        let write = ReplicatedWrite(
            loop, shape: shape, send: send, sendToHandoff: sendToHandoff,
            sendRow: { [unowned self] index, timestamp in sendRow(index, head, timestamp) },
            completion: { [unowned self] result in
                switch result {
                case .stored(let timestamp): end(.stored(timestamp, etag: etag, size: size))
                case .refused: end(.exists)
                case .unavailable(let failure): end(.unavailable(failure))
                }
            })
        self.write = write
        write.start()
    }

    private func sendRow(_ index: Int, _ head: ObjectHead, _ timestamp: Timestamp) {
        guard let row = target.putRow(index, head, timestamp) else {
            write?.receiveRow(.failed(StorageFailure(.noDevice, "the container has no replicas")), from: index)
            return
        }
        openFanOut().ask(
            .putRow(row), device: row.table.device, index: places.row(index), timeout: loop.limits.writeTimeout)
    }

    private func end(_ outcome: Outcome) {
        let completion = completion
        self.completion = nil
        // A third replica that is still at work comes to its end without us.
        if case .stored = outcome { stream?.detach() }
        completion?(outcome)
        release()
    }

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
