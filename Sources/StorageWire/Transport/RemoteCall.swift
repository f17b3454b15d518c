import NIOCore

/// A call over a link. On its link's loop only.
final class RemoteCall: StorageCall {
    /// `nil` for one that failed at once.
    let connection: ClientConnection?
    let tag: Int
    /// What every message of the call has for its answer.
    let allowance: TimeAmount
    /// Whether further messages may follow, so that `receiver` is still wanted after an answer.
    let mayContinue: Bool
    var id: UInt32 = 0
    var deadline: NIODeadline
    var receiver: (any CallReceiver)?
    /// Messages that have had no reply.
    var unanswered = 1
    /// The beginning of a reply whose end has not come.
    var partialReply: ByteBuffer?
    /// The message, as long as it is not known whether the peer speaks its version.
    var held: StorageRequest?
    /// Why the call is over, with which further messages are answered; `nil` while it is under way.
    var outcome: StorageFailure?

    init(
        connection: ClientConnection?, request: StorageRequest, deadline: NIODeadline, now: NIODeadline,
        receiver: any CallReceiver, tag: Int
    ) {
        self.connection = connection
        self.tag = tag
        self.deadline = deadline
        self.receiver = receiver
        allowance = deadline - now
        mayContinue = request.mayContinue
    }

    func send(_ request: StorageRequest) {
        unanswered += 1
        if let outcome { finish(outcome) } else { connection?.send(request, on: self) }
    }

    func end() {
        receiver = nil
        if outcome == nil { connection?.end(self) }
    }

    /// Milliseconds that are left, rounded up, as a frame says it.
    func remaining(at now: NIODeadline) -> UInt32 {
        guard deadline != .distantFuture else { return FrameHeader.noDeadline }
        let milliseconds = max(0, ((deadline - now).nanoseconds + 999_999) / 1_000_000)
        return UInt32(clamping: min(milliseconds, Int64(FrameHeader.noDeadline) - 1))
    }

    /// The call is over; everything that waits for an answer gets this one.
    func finish(_ failure: StorageFailure) {
        outcome = failure
        partialReply = nil
        held = nil
        let waiting = unanswered
        unanswered = 0
        for _ in 0..<waiting { receiver?.received(.failed(failure), tag: tag) }
        if !mayContinue { receiver = nil }
    }
}

extension StorageRequest {
    /// Whether a call that this message begins may have further ones.
    var mayContinue: Bool {
        switch self {
        case .openUpload: true
        case .readObject(let message): message.wanted == .body
        case .putObject, .chunk, .commitUpload, .readBody, .deleteObject, .updateObject, .putRow, .updateTable,
            .deleteTable, .deleteAccount, .readTable, .listTable, .status, .workers, .setWorker, .verifyObject,
            .replication, .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap, .program, .users:
            false
        }
    }
}
