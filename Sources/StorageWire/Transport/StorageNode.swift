package import NIOCore

/// Another node, or this one: where storage requests go. In process and over TCP the same messages and the same rules.
package protocol StorageNode: AnyObject, Sendable {
    /// Begins a call. Must be made on `eventLoop`, where `receiver` hears of the answers, possibly before this returns.
    ///
    /// Every request gets one reply, `failed` included; `tag` comes back with each, so that one receiver can hold many calls.
    @discardableResult
    func call(
        _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop, receiver: any CallReceiver,
        tag: Int
    ) -> any StorageCall
}

extension StorageNode {
    /// Asks what one reply answers and leaves nothing open. For cold paths. Must be called on `eventLoop`, where the future ends; it never fails.
    package func ask(
        _ request: StorageRequest, within time: TimeAmount, on eventLoop: any EventLoop
    ) -> EventLoopFuture<StorageReply> {
        let promise = eventLoop.makePromise(of: StorageReply.self)
        call(request, deadline: .now() + time, on: eventLoop, receiver: OneReply(promise), tag: 0)
        return promise.futureResult
    }
}

private final class OneReply: CallReceiver {
    private let promise: EventLoopPromise<StorageReply>

    init(_ promise: EventLoopPromise<StorageReply>) { self.promise = promise }

    func received(_ reply: StorageReply, tag: Int) { promise.succeed(reply) }
}

/// A call under way. To be used on its event loop only.
///
/// A call is over by itself with an answer that leaves nothing open on the other side. One that opened something (`accepted`, an object whose
/// body is to be pulled) stays until `end`. Each further message has as long for its answer as the first had.
package protocol StorageCall: AnyObject {
    /// A further message on the same call (`chunk`, `commitUpload`, `readBody`).
    func send(_ request: StorageRequest)
    /// Gives up what the call holds on the other side (a staged upload, an open body). No reply comes after this.
    func end()
}

/// Who asked.
package protocol CallReceiver: AnyObject {
    /// On the call's event loop.
    func received(_ reply: StorageReply, tag: Int)
}

/// The serving side: takes a request, answers through the call.
package protocol StorageHandler: AnyObject, Sendable {
    /// Called on the call's event loop, for the first message of a call and for each further one. Must not block.
    func handle(_ request: StorageRequest, call: ServerCall)
    /// The caller ended the call or its connection broke.
    func ended(_ call: ServerCall)
}

/// A call as the serving side sees it.
///
/// Unchecked: it is made, used and dropped on its event loop, but travels inside completions that other threads only carry back there.
package class ServerCall: @unchecked Sendable {
    package let eventLoop: any EventLoop
    /// Until when the answer to the newest message is of use.
    package internal(set) var deadline: NIODeadline
    /// What the handler keeps between the messages of a call: a staged upload, an open body.
    package var session: AnyObject?
    package internal(set) var isEnded = false

    package init(eventLoop: any EventLoop, deadline: NIODeadline) {
        self.eventLoop = eventLoop
        self.deadline = deadline
    }

    /// Answers the oldest unanswered message of the call. On the event loop only; after the end it does nothing.
    package func reply(_ reply: StorageReply) {
        preconditionFailure("a transport overrides this")
    }
}

/// Finds the node that has a device.
package protocol NodeDirectory: AnyObject, Sendable {
    func node(ofDevice device: UInt16) -> (any StorageNode)?
}

/// A node in this process: requests are handed over as they are, on the caller's event loop.
package final class LocalNode: StorageNode {
    private let handler: any StorageHandler

    package init(handler: any StorageHandler) { self.handler = handler }

    package func call(
        _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop, receiver: any CallReceiver,
        tag: Int
    ) -> any StorageCall {
        let call = LocalCall(
            eventLoop: eventLoop, deadline: deadline, handler: handler, receiver: receiver, tag: tag)
        handler.handle(request, call: call)
        return call
    }
}

/// Both ends of a call in process.
private final class LocalCall: ServerCall, StorageCall, @unchecked Sendable {
    private let handler: any StorageHandler
    private var receiver: (any CallReceiver)?
    private let tag: Int
    private let allowance: TimeAmount

    init(
        eventLoop: any EventLoop, deadline: NIODeadline, handler: any StorageHandler, receiver: any CallReceiver,
        tag: Int
    ) {
        self.handler = handler
        self.receiver = receiver
        self.tag = tag
        allowance = deadline - eventLoop.now
        super.init(eventLoop: eventLoop, deadline: deadline)
    }

    override func reply(_ reply: StorageReply) {
        receiver?.received(reply, tag: tag)
    }

    func send(_ request: StorageRequest) {
        guard !isEnded else { return }
        deadline = eventLoop.now + allowance
        handler.handle(request, call: self)
    }

    func end() {
        guard !isEnded else { return }
        isEnded = true
        receiver = nil
        handler.ended(self)
        session = nil
    }
}
