import NIOCore
import StorageWire
import Synchronization

/// A node that answers as its fault says, and without a fault as the node behind it.
final class FaultyNode: StorageNode {
    enum Fault: Sendable {
        /// Answers this at once and does nothing.
        case refuses(StorageFailure.Reason)
        /// Never answers and does nothing.
        case silent
        /// Does what it is asked, but the answers are lost.
        case breaks
        /// Takes this long for everything.
        case slow(TimeAmount)
    }

    private let node: any StorageNode
    private let state = Mutex<Fault?>(nil)

    init(_ node: any StorageNode) { self.node = node }

    var fault: Fault? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    func call(
        _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop, receiver: any CallReceiver,
        tag: Int
    ) -> any StorageCall {
        switch fault {
        case nil:
            return node.call(request, deadline: deadline, on: eventLoop, receiver: receiver, tag: tag)
        case .refuses(let reason):
            receiver.received(.failed(StorageFailure(reason)), tag: tag)
            return DeadCall(nil, reason, receiver, tag)
        case .breaks:
            let call = DeadCall(nil, .unreachable, receiver, tag)
            call.inner = node.call(request, deadline: deadline, on: eventLoop, receiver: Nobody(), tag: tag)
            eventLoop.assumeIsolated().execute { call.fail() }
            return call
        case .silent:
            let call = DeadCall(nil, .deadline, receiver, tag)
            eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { call.fail() }
            return call
        case .slow(let time):
            let call = SlowCall(time, eventLoop)
            call.later { [node] in
                call.inner = node.call(request, deadline: deadline, on: eventLoop, receiver: receiver, tag: tag)
            }
            return call
        }
    }
}

private final class Nobody: CallReceiver {
    func received(_ reply: StorageReply, tag: Int) {}
}

/// A call that nothing but a failure comes from.
private final class DeadCall: StorageCall {
    var inner: (any StorageCall)?
    private let reason: StorageFailure.Reason
    private var receiver: (any CallReceiver)?
    private let tag: Int

    init(_ inner: (any StorageCall)?, _ reason: StorageFailure.Reason, _ receiver: any CallReceiver, _ tag: Int) {
        self.inner = inner
        self.reason = reason
        self.receiver = receiver
        self.tag = tag
    }

    func fail() { receiver?.received(.failed(StorageFailure(reason)), tag: tag) }

    func send(_ request: StorageRequest) {
        if reason == .unreachable { inner?.send(request) }
        if reason != .deadline { fail() }
    }

    func end() {
        receiver = nil
        // What it does goes on: nobody is there to tell it.
    }
}

/// A call whose messages travel slowly.
private final class SlowCall: StorageCall {
    var inner: (any StorageCall)?
    private let time: TimeAmount
    private let eventLoop: any EventLoop
    private var isEnded = false

    init(_ time: TimeAmount, _ eventLoop: any EventLoop) {
        self.time = time
        self.eventLoop = eventLoop
    }

    func later(_ action: @escaping () -> Void) {
        eventLoop.assumeIsolated().scheduleTask(in: time) {
            if !self.isEnded { action() }
        }
    }

    func send(_ request: StorageRequest) {
        later { self.inner?.send(request) }
    }

    func end() {
        isEnded = true
        inner?.end()
    }
}
