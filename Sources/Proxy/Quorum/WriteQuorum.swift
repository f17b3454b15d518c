package import StorageWire

/// Decides when a write to the replicas of one object or listing is done.
///
/// A value without I/O: replies go in, what to do next comes out. Indices below `replicas` are primaries, those above are handoffs.
/// A handoff keeps data for a primary that is away but never votes.
package struct WriteQuorum: Sendable {
    package enum Action: Equatable, Sendable {
        case wait
        /// Write to a handoff in place of this primary.
        case tryHandoff(primary: Int)
        /// Durable on a majority: answer the client.
        case succeed
        /// Something newer is there: write everywhere again, above it.
        case retry(above: Timestamp)
        /// No majority can be had any more.
        case fail
    }

    package enum Answer: Equatable, Sendable {
        /// Durable; `row` tells whether the listing is too.
        case stored(row: Bool)
        case superseded(Timestamp)
        case failed
    }

    private enum Replica { case pending, stored, failed, superseded }

    private var replicas: [Replica]
    private var rows = 0
    private var stored = 0
    private var newest = Timestamp.never
    private var decided = false
    private let majority: Int

    /// - Parameter replicas: number of primaries, at least 1.
    package init(replicas: Int) {
        self.replicas = Array(repeating: .pending, count: replicas)
        majority = replicas / 2 + 1
    }

    /// Takes the answer of replica `index`; late answers change nothing.
    package mutating func receive(_ answer: Answer, from index: Int) -> Action {
        guard !decided else { return .wait }
        guard index < replicas.count else { return .wait }
        guard replicas[index] == .pending else { return .wait }
        switch answer {
        case .stored(let row):
            replicas[index] = .stored
            stored += 1
            if row { rows += 1 }
        case .superseded(let timestamp):
            replicas[index] = .superseded
            newest = max(newest, timestamp)
        case .failed:
            replicas[index] = .failed
        }
        return decide(failedNow: answer == .failed ? index : nil)
    }

    private mutating func decide(failedNow: Int?) -> Action {
        let pending = replicas.count { $0 == .pending }
        if newest != .never {
            // What was stored below the newer write is overwritten by the retry; waiting for the rest gains nothing.
            decided = true
            return .retry(above: newest)
        }
        if stored >= majority, rows >= majority {
            decided = true
            return .succeed
        }
        if stored + pending < majority || rows + pending < majority {
            decided = true
            return .fail
        }
        if let failedNow { return .tryHandoff(primary: failedNow) }
        return .wait
    }
}
