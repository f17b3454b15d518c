package import NIOCore
package import StorageWire

/// One question to several replicas of the same thing, with one deadline.
///
/// Bound to its event loop. `onReply` hears every reply with the index of its replica; a replica that stays silent, has no node or
/// breaks is heard as `failed`. Replies may come before `ask` returns. Asking a replica again forgets what it was asked before: the
/// old call comes to its end on the other side, unheard.
package final class FanOut: DeadlineQueue.Entry, CallReceiver {
    /// One replica and the newest call to it.
    private struct Place {
        var call: (any StorageCall)?
        /// Messages of the call that have had no reply.
        var waiting = 0
        /// Tells the newest call from those before, whose replies may still arrive.
        var generation = 0
        /// Messages for a call that has answered before the node had handed it over.
        var early: [StorageRequest] = []
        var isBeginning = false
    }

    private let loop: ProxyLoop
    private var places: [Place] = []
    private var onReply: ((StorageReply, Int) -> Void)?
    /// Told once, when an answer has been waited for longer than `StoreLimits.readPatience`.
    private var onSlow: (() -> Void)?
    private var isDetached = false
    /// Of what was asked last.
    private var lastDeadline = NIODeadline.distantFuture

    private static let indexBits = 16

    package init(
        _ loop: ProxyLoop, onSlow: (() -> Void)? = nil, onReply: @escaping (StorageReply, Int) -> Void
    ) {
        self.loop = loop
        self.onSlow = onSlow
        self.onReply = onReply
    }

    /// Begins a call to the node of `device`; its replies carry `index`.
    package func ask(_ request: StorageRequest, device: UInt16, index: Int, timeout: TimeAmount) {
        while places.count <= index { places.append(Place()) }
        let deadline = wait(timeout)
        let generation = places[index].generation + 1
        places[index] = Place(waiting: 1, generation: generation, isBeginning: true)
        let tag = generation << Self.indexBits | index
        guard let node = loop.cluster.nodes.node(ofDevice: device) else {
            places[index].isBeginning = false
            return received(.failed(StorageFailure(.noDevice, "no node has device \(device)")), tag: tag)
        }
        let call = node.call(request, deadline: deadline, on: loop.eventLoop, receiver: self, tag: tag)
        guard index < places.count, places[index].generation == generation, places[index].isBeginning else {
            // Its answer has come, and nobody wants more of it.
            return call.end()
        }
        places[index].call = call
        places[index].isBeginning = false
        let early = places[index].early
        places[index].early = []
        for message in early { call.send(message) }
    }

    /// Sends a further message on the call of replica `index`; when there is none (any more) that is heard as `failed`.
    package func follow(_ request: StorageRequest, index: Int, timeout: TimeAmount) {
        guard index < places.count, places[index].isBeginning || places[index].call != nil else {
            onReply?(.failed(StorageFailure(.unreachable, "the call is over")), index)
            return
        }
        _ = wait(timeout)
        places[index].waiting += 1
        if let call = places[index].call { call.send(request) } else { places[index].early.append(request) }
    }

    private func wait(_ timeout: TimeAmount) -> NIODeadline {
        let now = NIODeadline.now()
        lastDeadline = now + timeout
        let patience = onSlow == nil ? timeout : min(timeout, loop.limits.readPatience)
        loop.deadlines.add(self, deadline: now + patience)
        return lastDeadline
    }

    package func received(_ reply: StorageReply, tag: Int) {
        let index = tag & (1 << Self.indexBits - 1)
        guard index < places.count, places[index].generation == tag >> Self.indexBits, places[index].waiting > 0
        else { return }
        places[index].waiting -= 1
        if places.allSatisfy({ $0.waiting == 0 }) { loop.deadlines.remove(self) }
        if isDetached, places[index].waiting == 0 { return end(index: index) }
        onReply?(reply, index)
    }

    /// Ends the call of one replica; nothing is heard of it any more.
    package func end(index: Int) {
        guard index < places.count else { return }
        let call = places[index].call
        places[index] = Place(generation: places[index].generation + 1)
        call?.end()
    }

    /// Ends all calls; nothing is heard any more.
    package func end() {
        onReply = nil
        onSlow = nil
        loop.deadlines.remove(self)
        let ended = places
        places.removeAll()
        for place in ended { place.call?.end() }
    }

    /// Hears nothing more, but lets calls that are under way come to their end on the other side (a third replica's write), each
    /// until its last answer or the deadline.
    package func detach() {
        onReply = nil
        onSlow = nil
        isDetached = true
        for index in places.indices where places[index].waiting == 0 { end(index: index) }
    }

    package override func expired() {
        if let onSlow {
            self.onSlow = nil
            if deadline < lastDeadline {
                loop.deadlines.add(self, deadline: lastDeadline)
                return onSlow()
            }
        }
        // Those that are silent now: what is asked in reply to one of them has a deadline of its own.
        let silent = places.enumerated().filter { $0.element.waiting > 0 }.map { ($0.offset, $0.element.generation) }
        for (index, generation) in silent where index < places.count && places[index].generation == generation {
            end(index: index)
            onReply?(.failed(StorageFailure(.deadline, "no answer in time")), index)
        }
    }
}
