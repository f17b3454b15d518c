package import StorageWire

/// Writes one thing to all its replicas, in rounds: when a replica holds something newer, everything is written again above that, so
/// that the last acknowledged write is the one that stays.
///
/// Bound to its event loop. Says nothing about what is written: `send` does.
package final class ReplicatedWrite {
    package enum Result {
        case stored(Timestamp)
        /// A replica refused for a reason of its own (`conditionFailed`, `notEmpty`, `policyConflict`, `tombstone`), or has something newer than
        /// the only time that the write may have.
        case refused(StorageReply)
        /// No majority; the last reason that was heard.
        case unavailable(StorageFailure)
    }

    package struct Shape {
        /// Number of primaries.
        package var replicas: Int
        /// Ask the first primary alone and the others only when it has agreed: of two rival conditional writes one finds the other there.
        package var leaderFirst = false
        /// The write is of this time and of no later one: what is newer refuses it.
        package var timestamp: Timestamp?
        /// Replies of a replica that end the write at once.
        package var refuses: (StorageReply, Int) -> Bool = { _, _ in false }

        package init(replicas: Int) { self.replicas = replicas }
    }

    private let loop: ProxyLoop
    private let shape: Shape
    private let send: (Int, Timestamp) -> Void
    private let sendToHandoff: (Int, Timestamp) -> Void
    private let sendRow: ((Int, Timestamp) -> Void)?
    private var completion: ((Result) -> Void)?
    private var quorum: WriteQuorum
    private var timestamp: Timestamp
    private var round = 0
    private var leader: Int?
    /// Leaders that have failed before another one agreed.
    private var awaitingHandoff: [Int] = []
    private var lastFailure = StorageFailure(.unreachable)

    /// - Parameters:
    ///   - send: sends the write with this timestamp to the replica of this index; the reply to the newest such message, and to no
    ///     older one, goes to `receive`.
    ///   - sendToHandoff: does the same with a handoff in place of that primary; the reply goes nowhere.
    ///   - sendRow: writes the row of that primary without it; the reply goes to `receiveRow`. `nil` when there are no rows, or
    ///     only the primaries can make them.
    package init(
        _ loop: ProxyLoop, shape: Shape, send: @escaping (Int, Timestamp) -> Void,
        sendToHandoff: @escaping (Int, Timestamp) -> Void, sendRow: ((Int, Timestamp) -> Void)? = nil,
        completion: @escaping (Result) -> Void
    ) {
        self.loop = loop
        self.shape = shape
        self.send = send
        self.sendToHandoff = sendToHandoff
        self.sendRow = sendRow
        self.completion = completion
        quorum = WriteQuorum(replicas: shape.replicas, writesRows: sendRow != nil)
        timestamp = shape.timestamp ?? loop.timestamps.next()
    }

    package func start() {
        if shape.leaderFirst {
            leader = 0
            send(0, timestamp)
        } else {
            transmitAll(from: 0)
        }
    }

    /// Takes the reply of a primary.
    package func receive(_ reply: StorageReply, from index: Int) {
        guard completion != nil, index < shape.replicas else { return }
        let answer: WriteQuorum.Answer
        switch reply {
        case .stored(let row): answer = .stored(row: row)
        case .tableStored: answer = .stored(row: true)
        case .superseded(let newest): answer = .superseded(newest)
        case .failed(let failure):
            lastFailure = failure
            answer = .failed
        default:
            if shape.refuses(reply, index) { return finish(.refused(reply)) }
            lastFailure = StorageFailure(.malformed, "unexpected reply")
            answer = .failed
        }
        if let leader, leader == index, afterLeader(answer, leader: leader) { return }
        act(on: quorum.receive(answer, from: index))
    }

    /// Takes the reply to a row that was written without its primary.
    package func receiveRow(_ reply: StorageReply, from index: Int) {
        guard completion != nil else { return }
        switch reply {
        // Superseded: a newer write of the name is listed already.
        case .stored, .superseded: act(on: quorum.receiveRow(stored: true, from: index))
        case .failed(let failure):
            lastFailure = failure
            act(on: quorum.receiveRow(stored: false, from: index))
        default: act(on: quorum.receiveRow(stored: false, from: index))
        }
    }

    package func cancel() { completion = nil }

    private func act(on action: WriteQuorum.Action) {
        switch action {
        case .wait: break
        case .tryHandoff(let primary, let rows):
            // While it is open whether the condition holds, nothing is kept anywhere.
            if leader == nil { sendToHandoff(primary, timestamp) } else { awaitingHandoff.append(primary) }
            writeRows(rows)
        case .writeRows(let primaries): writeRows(primaries)
        case .succeed: finish(.stored(timestamp))
        case .fail: finish(.unavailable(lastFailure))
        case .retry(let newest): retry(above: newest)
        }
    }

    private func writeRows(_ primaries: [Int]) {
        let current = round
        for index in primaries where completion != nil && round == current { sendRow?(index, timestamp) }
    }

    /// Goes on from the leader's answer to the others, or to another leader. True when that is all to be done with the answer.
    private func afterLeader(_ answer: WriteQuorum.Answer, leader: Int) -> Bool {
        switch answer {
        case .stored:
            self.leader = nil
            // Counted first: the others may answer at once. Those before the leader have failed.
            act(on: quorum.receive(answer, from: leader))
            if completion != nil { transmitAll(from: leader + 1) }
            for primary in awaitingHandoff where completion != nil { sendToHandoff(primary, timestamp) }
            awaitingHandoff = []
            return true
        case .failed where leader + 1 < shape.replicas:
            self.leader = leader + 1
            let current = round
            act(on: quorum.receive(answer, from: leader))
            if completion != nil, round == current { send(leader + 1, timestamp) }
            return true
        case .failed, .superseded:
            self.leader = nil
            return false
        }
    }

    private func retry(above newest: Timestamp) {
        guard shape.timestamp == nil else { return finish(.refused(.superseded(newest))) }
        round += 1
        guard round < loop.limits.maximumWriteRounds else {
            return finish(.unavailable(StorageFailure(.busy, "newer writes kept arriving")))
        }
        awaitingHandoff = []
        timestamp = loop.timestamps.next(after: newest)
        quorum = WriteQuorum(replicas: shape.replicas, writesRows: sendRow != nil)
        start()
    }

    private func transmitAll(from first: Int) {
        let current = round
        for index in first..<shape.replicas {
            // A reply may come at once and start another round.
            guard completion != nil, round == current else { return }
            send(index, timestamp)
        }
    }

    private func finish(_ result: Result) {
        let completion = completion
        self.completion = nil
        completion?(result)
    }
}
