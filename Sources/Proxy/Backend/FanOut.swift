package import NIOCore
package import StorageWire

/// One question to several replicas of the same thing, with one deadline.
///
/// Bound to its event loop. `onReply` hears every reply with the index of its replica; a replica that stays silent, has no node or
/// breaks is heard as `failed`. Replies may come before `ask` returns.
package final class FanOut: DeadlineQueue.Entry, CallReceiver {
    private let loop: ProxyLoop
    private var calls: [(any StorageCall)?] = []
    private var waiting: [Int] = []
    /// The latest `ask` of each replica, by its number, and messages for it that came before its call was known here.
    private var asked: [(number: Int, isBeginning: Bool, early: [StorageRequest])] = []
    private var onReply: ((StorageReply, Int) -> Void)?

    package init(_ loop: ProxyLoop, onReply: @escaping (StorageReply, Int) -> Void) {
        self.loop = loop
        self.onReply = onReply
    }

    /// Begins a call to the node of `device`; its replies carry `index`.
    package func ask(_ request: StorageRequest, device: UInt16, index: Int, timeout: TimeAmount) {
        while calls.count <= index {
            calls.append(nil)
            waiting.append(0)
            asked.append((0, false, []))
        }
        let deadline = NIODeadline.now() + timeout
        loop.deadlines.add(self, deadline: deadline)
        waiting[index] += 1
        guard let node = loop.cluster.nodes.node(ofDevice: device) else {
            received(.failed(StorageFailure(.noDevice, "no node has device \(device)")), tag: index)
            return
        }
        let number = asked[index].number + 1
        asked[index] = (number, true, [])
        let call = node.call(request, deadline: deadline, on: loop.eventLoop, receiver: self, tag: index)
        began(call, index: index, number: number)
    }

    /// A node in this process may have answered already, and who heard it may have ended this call or begun another one to the replica.
    private func began(_ call: any StorageCall, index: Int, number: Int) {
        guard index < asked.count, asked[index].number == number, asked[index].isBeginning else { return call.end() }
        let early = asked[index].early
        asked[index] = (number, false, [])
        calls[index] = call
        for request in early { call.send(request) }
    }

    /// Sends a further message on the call of replica `index`.
    package func follow(_ request: StorageRequest, index: Int, timeout: TimeAmount) {
        guard index < calls.count, asked[index].isBeginning || calls[index] != nil else { return }
        loop.deadlines.add(self, deadline: .now() + timeout)
        waiting[index] += 1
        if asked[index].isBeginning { asked[index].early.append(request) } else { calls[index]?.send(request) }
    }

    package func received(_ reply: StorageReply, tag: Int) {
        guard let onReply, tag < waiting.count else { return }
        waiting[tag] -= 1
        if waiting.allSatisfy({ $0 == 0 }) { loop.deadlines.remove(self) }
        onReply(reply, tag)
    }

    /// Ends the call of one replica.
    package func end(index: Int) {
        guard index < calls.count else { return }
        calls[index]?.end()
        calls[index] = nil
        waiting[index] = 0
        asked[index].isBeginning = false
    }

    /// Ends all calls; nothing is heard any more.
    package func end() {
        onReply = nil
        loop.deadlines.remove(self)
        for call in calls { call?.end() }
        calls.removeAll()
        waiting.removeAll()
        asked.removeAll()
    }

    /// Hears nothing more, but lets calls that are under way come to their end on the other side (a third replica's write).
    package func detach() {
        onReply = nil
        loop.deadlines.remove(self)
        for index in calls.indices where waiting[index] == 0 { calls[index]?.end() }
        calls.removeAll()
        waiting.removeAll()
        asked.removeAll()
    }

    package override func expired() {
        for index in waiting.indices where index < waiting.count && waiting[index] > 0 {
            end(index: index)
            onReply?(.failed(StorageFailure(.deadline, "no answer in time")), index)
            if onReply == nil { return }
        }
    }
}
