package import StorageWire

/// Writes one thing to all its replicas, in rounds: when a replica holds something newer, everything is written again above that, so
/// that the last acknowledged write is the one that stays.
///
/// Bound to its event loop. Says nothing about what is written: `send` does.
package final class ReplicatedWrite {
    package enum Result {
        case stored(Timestamp)
        /// A replica refused for a reason of its own (`conditionFailed`, `notEmpty`, `policyConflict`).
        case refused(StorageReply)
        /// No majority; the last reason that was heard.
        case unavailable(StorageFailure)
    }

    package struct Shape {
        /// Number of primaries.
        package var replicas: Int
        /// Ask the first primary alone and the others only when it has agreed: of two rival conditional writes one finds the other there.
        package var leaderFirst = false
        /// Replies that end the write at once.
        package var refuses: (StorageReply) -> Bool = { _ in false }

        package init(replicas: Int) { self.replicas = replicas }
    }

    private let loop: ProxyLoop
    private let shape: Shape
    private let send: (Int, Timestamp) -> Void
    private let sendToHandoff: (Int, Timestamp) -> Void
    private let sendRow: (Int, Timestamp, Int) -> Void
    private var completion: ((Result) -> Void)?
    private var quorum: WriteQuorum
    private var timestamp: Timestamp
    private var round = 0
    private var leader: Int?
    private var lastFailure = StorageFailure(.unreachable)
    /// Replies that belong to rounds before the current one, by replica.
    private var outdated: [Int]
    private var sent: [Int]

    /// - Parameters:
    ///   - send: sends the write with this timestamp to the replica of this index; its reply goes to `receive`.
    ///   - sendToHandoff: does the same with a handoff in place of that primary.
    ///   - sendRow: writes the row that belongs to the replica of this index; the reply goes to `receive` with the last number.
    package init(
        _ loop: ProxyLoop, shape: Shape, send: @escaping (Int, Timestamp) -> Void,
        sendToHandoff: @escaping (Int, Timestamp) -> Void,
        sendRow: @escaping (_ index: Int, Timestamp, _ place: Int) -> Void, completion: @escaping (Result) -> Void
    ) {
        self.loop = loop
        self.shape = shape
        self.send = send
        self.sendToHandoff = sendToHandoff
        self.sendRow = sendRow
        self.completion = completion
        quorum = WriteQuorum(replicas: shape.replicas)
        timestamp = loop.timestamps.next()
        outdated = Array(repeating: 0, count: shape.replicas)
        sent = Array(repeating: 0, count: shape.replicas)
    }

    package func start() {
        if shape.leaderFirst {
            leader = 0
            transmit(0)
        } else {
            transmitAll(except: nil)
        }
    }

    /// Takes the reply of a replica (handoffs have indices above the primaries', and rows above those).
    package func receive(_ reply: StorageReply, from index: Int) {
        guard completion != nil else { return }
        if index >= rowPlace(0) { return receiveRow(reply, from: index - rowPlace(0)) }
        guard index < shape.replicas else { return }
        if outdated[index] > 0 {
            outdated[index] -= 1
            return
        }
        sent[index] -= 1
        let answer: WriteQuorum.Answer
        switch reply {
        case .stored(let row): answer = .stored(row: row)
        case .tableStored: answer = .stored(row: true)
        case .superseded(let newest): answer = .superseded(newest)
        case .failed(let failure):
            lastFailure = failure
            answer = .failed
        default:
            if shape.refuses(reply) { return finish(.refused(reply)) }
            lastFailure = StorageFailure(.malformed, "unexpected reply")
            answer = .failed
        }
        if let leader, leader == index, afterLeader(answer, leader: leader) { return }
        act(on: quorum.receive(answer, from: index))
    }

    package func cancel() { completion = nil }

    /// Rows of each round have places of their own, so that a late reply counts for its own round only.
    private func rowPlace(_ index: Int) -> Int { (2 + round) * shape.replicas + index }

    private func receiveRow(_ reply: StorageReply, from index: Int) {
        switch reply {
        // Superseded: a newer write of this object is in the listing already.
        case .stored, .superseded: act(on: quorum.receiveRow(stored: true, from: index))
        default: act(on: quorum.receiveRow(stored: false, from: index))
        }
    }

    private func sendRows(_ indices: [Int]) {
        let current = round
        for index in indices {
            // A reply may come at once and end the write.
            guard completion != nil, round == current else { return }
            sendRow(index, timestamp, rowPlace(index))
        }
    }

    private func act(on action: WriteQuorum.Action) {
        switch action {
        case .wait: break
        case .tryHandoff(let primary): sendToHandoff(primary, timestamp)
        case .writeRows(let indices): sendRows(indices)
        case .succeed: finish(.stored(timestamp))
        case .fail: finish(.unavailable(lastFailure))
        case .retry(let newest): retry(above: newest)
        }
    }

    /// Goes on from the leader's answer to the others, or to another leader. True when that is all to be done with the answer.
    private func afterLeader(_ answer: WriteQuorum.Answer, leader: Int) -> Bool {
        switch answer {
        case .stored:
            self.leader = nil
            transmitAll(except: leader)
            return completion == nil
        case .failed where leader + 1 < shape.replicas:
            self.leader = leader + 1
            act(on: quorum.receive(answer, from: leader))
            if completion != nil { transmit(leader + 1) }
            return true
        case .failed, .superseded:
            self.leader = nil
            return false
        }
    }

    private func retry(above newest: Timestamp) {
        round += 1
        guard round < loop.limits.maximumWriteRounds else {
            return finish(.unavailable(StorageFailure(.busy, "newer writes kept arriving")))
        }
        timestamp = loop.timestamps.next(after: newest)
        quorum = WriteQuorum(replicas: shape.replicas)
        for index in sent.indices {
            outdated[index] += sent[index]
            sent[index] = 0
        }
        start()
    }

    private func transmitAll(except skipped: Int?) {
        let current = round
        for index in 0..<shape.replicas where index != skipped {
            // A reply may come at once and start another round.
            guard completion != nil, round == current else { return }
            transmit(index)
        }
    }

    private func transmit(_ index: Int) {
        sent[index] += 1
        send(index, timestamp)
    }

    private func finish(_ result: Result) {
        let completion = completion
        self.completion = nil
        completion?(result)
    }
}
