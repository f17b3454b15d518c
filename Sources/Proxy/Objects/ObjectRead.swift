package import NIOCore
package import StorageWire

/// Finds the newest version of an object that a majority of its replicas vouches for, and then its bytes.
///
/// Bound to its event loop. A small body comes with the answer; a larger one is pulled with `pull`.
package final class ObjectRead {
    package enum Outcome {
        case found(ObjectReply)
        /// Nothing is there; deleted at that time if it ever was.
        case notFound(Timestamp)
        /// No majority can be reached, or none has a sound copy.
        case unavailable(StorageFailure)
    }

    private let loop: ProxyLoop
    private let target: ObjectTarget
    private let wanted: ReadObject.Wanted
    private var completion: ((Outcome) -> Void)?
    private var fanOut: FanOut?
    private var quorum: ReadQuorum
    private var fullReplies: [ObjectReply?]
    private var askedFull: [Bool]
    private var lastFailure = StorageFailure(.unreachable)
    private var source = 0
    private var transfer: BodyTransfer?

    /// - Parameters:
    ///   - wanted: `head` or `body`.
    ///   - newest: ask every replica (`X-Newest`), not only a majority.
    package init(
        _ loop: ProxyLoop, target: ObjectTarget, wanted: ReadObject.Wanted, newest: Bool = false,
        completion: @escaping (Outcome) -> Void
    ) {
        self.loop = loop
        self.target = target
        self.wanted = wanted
        self.completion = completion
        quorum = ReadQuorum(replicas: target.primaries.count, asksAll: newest)
        fullReplies = Array(repeating: nil, count: target.primaries.count)
        askedFull = Array(repeating: false, count: target.primaries.count)
    }

    package func start() {
        fanOut = FanOut(
            loop, onSlow: { [unowned self] in act(on: quorum.hurry()) },
            onReply: { [unowned self] reply, index in receive(reply, from: index) })
        let first = quorum.begin(order: Array(target.primaries.indices))
        for index in first.versions { ask(index, full: false) }
        ask(first.full, full: true)
    }

    /// Gives up; nothing is heard any more.
    package func end() {
        completion = nil
        transfer?.cancel()
        transfer = nil
        fanOut?.end()
        fanOut = nil
    }

    /// Pulls bytes of a large body in order. `onChunk` is given pieces; `onEnd` whether all came.
    ///
    /// - Parameter reply: what `found` gave.
    package func pull(
        _ range: Range<Int64>, of reply: ObjectReply, onChunk: @escaping (ByteBuffer) -> Void,
        onEnd: @escaping (Bool) -> Void
    ) -> BodyTransfer {
        let transfer = BodyTransfer(
            range: range, window: loop.limits.downloadWindow,
            request: { [unowned self] message in
                fanOut?.follow(.readBody(message), index: source, timeout: loop.limits.readTimeout)
            },
            switchSource: { [unowned self] in askOther(than: reply.dataTimestamp) }, onChunk: onChunk, onEnd: onEnd)
        self.transfer = transfer
        return transfer
    }

    private func ask(_ index: Int, full: Bool) {
        guard let fanOut else { return }
        askedFull[index] = full
        fanOut.ask(
            .readObject(ReadObject(address: target.address(index), wanted: full ? wanted : .version)),
            device: target.primaries[index], index: index, timeout: loop.limits.readTimeout)
    }

    private func receive(_ reply: StorageReply, from index: Int) {
        if completion == nil { return receiveForTransfer(reply, from: index) }
        switch reply {
        case .object(let object):
            if askedFull[index] { fullReplies[index] = object }
            act(on: quorum.receive(.live(object.timestamp), full: askedFull[index], from: index))
        case .tombstone(let timestamp):
            act(on: quorum.receive(.tombstone(timestamp), full: askedFull[index], from: index))
        case .absent:
            act(on: quorum.receive(.absent, full: askedFull[index], from: index))
        case .failed(let failure):
            lastFailure = failure
            act(on: quorum.receiveFailure(from: index))
        default:
            act(on: quorum.receiveFailure(from: index))
        }
    }

    private func act(on action: ReadQuorum.Action) {
        switch action {
        case .wait: break
        case .askVersion(let index): ask(index, full: false)
        case .askAll(let index): ask(index, full: true)
        case .notFound(let version):
            let stale = quorum.staleReplicas(than: version.timestamp)
            if case .tombstone(let timestamp) = version { ReadRepair.delete(loop, target, at: timestamp, stale: stale) }
            finish(.notFound(version.timestamp))
        case .fail: finish(.unavailable(lastFailure))
        case .answer(let index, let stale):
            guard let reply = fullReplies[index] else { return finish(.unavailable(lastFailure)) }
            ReadRepair.put(loop, target, reply, stale: stale)
            source = index
            finish(.found(reply))
        }
    }

    private func finish(_ outcome: Outcome) {
        let completion = completion
        self.completion = nil
        completion?(outcome)
    }

    // MARK: Large bodies

    private var triedSources: Set<Int> = []
    private var wantedData = Timestamp.never

    private func receiveForTransfer(_ reply: StorageReply, from index: Int) {
        guard let transfer, index == source else { return }
        switch reply {
        case .body(let bytes): transfer.received(bytes)
        case .object(let object) where object.dataTimestamp == wantedData: transfer.sourceReady()
        default: transfer.sourceFailed()
        }
    }

    /// Goes on with another replica that has the same bytes: a copy that turns out bad in the middle is not the end of the answer.
    private func askOther(than dataTimestamp: Timestamp) -> Bool {
        triedSources.insert(source)
        wantedData = dataTimestamp
        guard let next = target.primaries.indices.first(where: { !triedSources.contains($0) }) else { return false }
        fanOut?.end(index: source)
        fanOut?.end(index: next)
        source = next
        ask(next, full: true)
        return true
    }
}
