package import StorageWire

/// Decides when a write to the replicas of one object or listing is done.
///
/// A value without I/O: replies go in, what to do next comes out. Indices below `replicas` are primaries, those above are handoffs.
/// A handoff keeps data for a primary that is away but never votes.
///
/// Each object replica sees to the row on one container replica. Where an object replica is away its row is not written, although
/// the container replica may be there: then the proxy writes that row itself.
package struct WriteQuorum: Sendable {
    package enum Action: Equatable, Sendable {
        case wait
        /// Write to a handoff in place of this primary.
        case tryHandoff(primary: Int)
        /// Durable on a majority, but the rows are not: write the rows of these primaries, which have not done so.
        case writeRows([Int])
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

    private enum Row { case untried, asked, stored, away }

    private var replicas: [Replica]
    private var rows: [Row]
    private var newest = Timestamp.never
    private var decided = false
    private let majority: Int

    /// - Parameter replicas: number of primaries, at least 1.
    package init(replicas: Int) {
        self.replicas = Array(repeating: .pending, count: replicas)
        rows = Array(repeating: .untried, count: replicas)
        majority = replicas / 2 + 1
    }

    /// Takes the answer of replica `index`; late answers change nothing.
    package mutating func receive(_ answer: Answer, from index: Int) -> Action {
        guard !decided, index < replicas.count, replicas[index] == .pending else { return .wait }
        switch answer {
        case .stored(let row):
            replicas[index] = .stored
            if row { rows[index] = .stored } else if rows[index] == .untried { rows[index] = .away }
        case .superseded(let timestamp):
            replicas[index] = .superseded
            newest = max(newest, timestamp)
        case .failed:
            replicas[index] = .failed
        }
        return decide(failedNow: answer == .failed ? index : nil)
    }

    /// Takes the answer to a row that `writeRows` asked for.
    package mutating func receiveRow(stored: Bool, from index: Int) -> Action {
        guard !decided, index < rows.count, rows[index] == .asked else { return .wait }
        rows[index] = stored ? .stored : .away
        return decide(failedNow: nil)
    }

    private mutating func decide(failedNow: Int?) -> Action {
        if newest != .never {
            // What was stored below the newer write is overwritten by the retry; waiting for the rest gains nothing.
            decided = true
            return .retry(above: newest)
        }
        let stored = replicas.count { $0 == .stored }
        let storedRows = rows.count { $0 == .stored }
        if stored >= majority, storedRows >= majority {
            decided = true
            return .succeed
        }
        let pending = replicas.count { $0 == .pending }
        let possibleRows = rows.count { $0 != .away }
        if stored + pending < majority || possibleRows < majority {
            decided = true
            return .fail
        }
        if let failedNow { return .tryHandoff(primary: failedNow) }
        let untried = rows.indices.filter { rows[$0] == .untried }
        // A row must not come before its object is safe.
        guard stored >= majority, !untried.isEmpty else { return .wait }
        for index in untried { rows[index] = .asked }
        return .writeRows(untried)
    }
}
