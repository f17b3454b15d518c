import Logging
import NIOCore

/// The serving end of a connection: files calls, hands messages to the handler, sends its answers.
final class ServerConnection: WireConnectionOwner {
    private let handler: any StorageHandler
    private let limits: WireLimits
    private let logger: Logger
    private let recognised: () -> Void
    private let refused: (String) -> Void
    private var calls: CallTable<RemoteServerCall>
    private var connection: WireConnection?
    private var isDraining = false

    /// - Parameters:
    ///   - recognised: heard when the peer has proved itself.
    ///   - refused: hears why the peer is none of ours.
    init(
        handler: any StorageHandler, limits: WireLimits, logger: Logger, recognised: @escaping () -> Void,
        refused: @escaping (String) -> Void
    ) {
        self.handler = handler
        self.limits = limits
        self.logger = logger
        self.recognised = recognised
        self.refused = refused
        calls = CallTable(limit: limits.maximumCalls, allocatesIds: false)
    }

    func connectionEstablished(_ connection: WireConnection) {
        self.connection = connection
        recognised()
    }

    // MARK: Messages

    func connection(_ connection: WireConnection, received frame: Frame) throws(WireError) {
        switch frame.header.kind {
        case .request: try begin(frame, eventLoop: connection.eventLoop)
        case .followUp: continueCall(frame)
        case .end: end(frame.header.call)
        case .hello, .challenge, .proof, .welcome, .reply, .ping, .pong:
            throw .malformed("\(frame.header.kind) from a client")
        }
    }

    private func begin(_ frame: Frame, eventLoop: any EventLoop) throws(WireError) {
        let id = frame.header.call
        if isDraining { return refuse(id, StorageFailure(.closing)) }
        let request: StorageRequest
        do { request = try StorageRequest(decoding: frame.payload) } catch { return refuse(id, StorageFailure(error)) }
        let call = RemoteServerCall(
            id: id, connection: self, mayContinue: request.mayContinue, eventLoop: eventLoop,
            deadline: Self.deadline(frame, eventLoop.now))
        switch calls.insert(call, id: id) {
        case .inserted: handler.handle(request, call: call)
        case .tooMany: refuse(id, StorageFailure(.busy, "too many calls are under way"))
        case .taken: throw .malformed("call \(id) is under way")
        }
    }

    private func continueCall(_ frame: Frame) {
        // It may have been over before the peer heard of it; the peer answers such a message itself.
        guard let call = calls[frame.header.call] else { return }
        call.unanswered += 1
        call.deadline = Self.deadline(frame, call.eventLoop.now)
        let request: StorageRequest
        do { request = try StorageRequest(decoding: frame.payload) } catch {
            return reply(.failed(StorageFailure(error)), on: call)
        }
        handler.handle(request, call: call)
    }

    private func end(_ id: UInt32) {
        guard let call = calls.remove(id) else { return }
        drop(call)
        finishIfDrained()
    }

    private static func deadline(_ frame: Frame, _ now: NIODeadline) -> NIODeadline {
        frame.header.remaining == FrameHeader.noDeadline
            ? .distantFuture : now + .milliseconds(Int64(frame.header.remaining))
    }

    // MARK: Answers

    fileprivate func reply(_ reply: StorageReply, on call: RemoteServerCall) {
        guard call.unanswered > 0, let connection else { return }
        call.unanswered -= 1
        let isLast = call.unanswered == 0 && !call.staysOpen(after: reply)
        let header = FrameHeader(kind: .reply, flags: isLast ? .last : [], call: call.id)
        if isLast {
            calls.remove(call.id)
            call.close()
        }
        if !connection.send(reply, header) {
            let failure = StorageReply.failed(StorageFailure(.malformed, "the reply is too large"))
            _ = connection.send(failure, header)
        }
        if isLast { finishIfDrained() }
    }

    private func refuse(_ id: UInt32, _ failure: StorageFailure) {
        _ = connection?.send(StorageReply.failed(failure), FrameHeader(kind: .reply, flags: .last, call: id))
    }

    // MARK: Closing

    func connectionShallDrain(_ connection: WireConnection) {
        isDraining = true
        finishIfDrained()
    }

    private func finishIfDrained() {
        if isDraining, calls.count == 0 { connection?.finish() }
    }

    func connectionClosed(_ connection: WireConnection, reason: WireError) {
        self.connection = nil
        if case .refused(let words) = reason { refused(words) }
        logger.debug("connection of storage node ended", metadata: ["reason": "\(reason)"])
        let broken = calls.calls
        calls = CallTable(limit: limits.maximumCalls, allocatesIds: false)
        for call in broken { drop(call) }
    }

    /// The caller will hear no more.
    private func drop(_ call: RemoteServerCall) {
        call.close()
        handler.ended(call)
        call.session = nil
    }
}

extension StorageFailure {
    /// The answer to a message that can't be read: the call fails, and the connection goes on, since its frame was sound.
    fileprivate init(_ error: WireError) {
        if case .unsupported(let detail) = error {
            self.init(.unsupported, detail)
        } else {
            self.init(.malformed, "the message makes no sense: \(error)")
        }
    }
}

/// A call that came over a connection.
private final class RemoteServerCall: ServerCall, @unchecked Sendable {
    let id: UInt32
    private let mayContinue: Bool
    private var connection: ServerConnection?
    /// Messages that have had no reply.
    var unanswered = 1

    init(
        id: UInt32, connection: ServerConnection, mayContinue: Bool, eventLoop: any EventLoop, deadline: NIODeadline
    ) {
        self.id = id
        self.connection = connection
        self.mayContinue = mayContinue
        super.init(eventLoop: eventLoop, deadline: deadline)
    }

    override func reply(_ reply: StorageReply) {
        connection?.reply(reply, on: self)
    }

    /// Whether the caller may go on with the call: the handler keeps something for it, or the answer invites further messages.
    func staysOpen(after reply: StorageReply) -> Bool {
        if session != nil { return true }
        guard mayContinue else { return false }
        return switch reply {
        case .accepted, .body: true
        case .object(let object): object.body == nil && object.bodyLength > 0
        default: false
        }
    }

    /// Nothing that is said on the call is heard from now on.
    func close() {
        isEnded = true
        connection = nil
    }
}
