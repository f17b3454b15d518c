import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// Brings one object from another device to one of this node: the newest record there, of whatever kind and time.
///
/// Unchecked: bound to its event loop; the staged file is in the hands of one worker at a time.
final class ObjectFetch: CallReceiver, WriteCompletion, @unchecked Sendable {
    enum Outcome: Equatable, Sendable {
        /// What the source has is durable here, or something newer.
        case stored(bytes: Int64)
        /// The source has nothing.
        case nothing
        case failed(StorageFailure)
    }

    let sink: any CompletionSink
    private let log: DeviceLog
    private let key: ObjectKey
    private let server: ObjectServer
    private let workers: NIOThreadPool
    private let eventLoop: any EventLoop
    private let promise: EventLoopPromise<Outcome>
    private var call: (any StorageCall)?
    private var object: ObjectReply?
    private var blob: StagedBlob?
    private var asked: Int64 = 0
    private var isDelete = false
    private var isOver = false

    private static let timeout = TimeAmount.seconds(15)

    init(_ key: ObjectKey, to log: DeviceLog, server: ObjectServer, on eventLoop: any EventLoop) {
        self.key = key
        self.log = log
        self.server = server
        workers = server.workers
        sink = server.sinks.sink(for: eventLoop)
        self.eventLoop = eventLoop
        promise = eventLoop.makePromise()
    }

    /// On the event loop. The future never fails.
    func start(from source: UInt16, on node: any StorageNode) -> EventLoopFuture<Outcome> {
        let address = ObjectAddress(device: source, policy: key.policy, hash: key.hash)
        let call = node.call(
            .readObject(ReadObject(address: address, wanted: .body, isOwn: true)), deadline: .now() + Self.timeout,
            on: eventLoop,
            receiver: self, tag: 0)
        // The reply may have come within the call.
        if !isOver { self.call = call }
        return promise.futureResult
    }

    func received(_ reply: StorageReply, tag: Int) {
        guard !isOver else { return }
        switch reply {
        case .absent: end(.nothing)
        case .tombstone(let timestamp):
            isDelete = true
            log.submit(.delete(key, timestamp: timestamp.rawValue), completion: self)
        case .object(let object):
            self.object = object
            if let body = object.body { submit(.inline(body)) } else { stage(object) }
        case .body(let bytes): append(bytes)
        case .failed(let failure): end(.failed(failure))
        default: end(.failed(StorageFailure(.malformed, "not an answer to a read")))
        }
    }

    // MARK: A large body

    private func stage(_ object: ObjectReply) {
        run { [log] () throws(DeviceLogError) in
            try log.stageBlob(expectedLength: object.bodyLength)
        } then: {
            [self] blob in
            self.blob = blob
            askNext()
        }
    }

    private func askNext() {
        guard let call, let object, blob != nil, asked == blob?.length ?? 0 else { return }
        guard asked < object.bodyLength else { return seal() }
        let length = Int(min(object.bodyLength - asked, Int64(ReadBody.maximumLength)))
        asked += Int64(length)
        call.send(.readBody(ReadBody(offset: asked - Int64(length), length: length)))
    }

    private func append(_ bytes: ByteBuffer) {
        guard let blob, Int64(bytes.readableBytes) == asked - blob.length else {
            return end(.failed(StorageFailure(.malformed, "a piece of another length than was asked for")))
        }
        run { () throws(DeviceLogError) in
            try blob.append(bytes)
        } then: { [self] in
            askNext()
        }
    }

    private func seal() {
        guard let blob else { return }
        call?.end()
        call = nil
        run { () throws(DeviceLogError) in
            try blob.seal()
        } then: { [self] in
            submit(.blob(blob))
        }
    }

    private func run<Value: Sendable>(
        _ work: @escaping @Sendable () throws(DeviceLogError) -> Value, then next: @escaping (Value) -> Void
    ) {
        workers.runIfActive(eventLoop: eventLoop) { try work() }.assumeIsolated().whenComplete { [self] result in
            guard !isOver else { return }
            switch result {
            case .success(let value): next(value)
            case .failure(let error):
                end(.failed((error as? DeviceLogError).map { StorageFailure($0) } ?? StorageFailure(.closing)))
            }
        }
    }

    // MARK: The end

    private func submit(_ body: WriteBody) {
        guard let object else { return }
        ExpiryIndex.note(
            object.head, of: key, timestamp: object.timestamp.rawValue, in: log, server, on: eventLoop)
        log.submit(
            .restore(
                key, timestamp: object.timestamp.rawValue, dataTimestamp: object.dataTimestamp.rawValue,
                metadata: object.head, body: body), completion: self)
    }

    func completed(_ outcome: WriteOutcome) {
        // Rows have their own replicator.
        if isDelete, case .stored(let position) = outcome { log.confirm(position) }
        end(Outcome(outcome, bytes: object?.bodyLength ?? 0))
    }

    private func end(_ outcome: Outcome) {
        guard !isOver else { return }
        isOver = true
        call?.end()
        call = nil
        if let blob, outcome != .stored(bytes: object?.bodyLength ?? 0) {
            workers.submit { _ in blob.discard() }
        }
        promise.succeed(outcome)
    }
}

extension ObjectFetch.Outcome {
    /// What became of the write of an object that was fetched.
    init(_ outcome: WriteOutcome, bytes: Int64) {
        switch outcome {
        case .stored: self = .stored(bytes: bytes)
        // Something newer is here.
        case .superseded: self = .stored(bytes: 0)
        case .failed(let error): self = .failed(StorageFailure(error))
        case .missing, .baseMismatch, .conditionFailed, .refused: self = .failed(StorageFailure(.io, "\(outcome)"))
        }
    }
}
