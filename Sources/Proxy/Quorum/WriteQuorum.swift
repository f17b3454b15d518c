package import StorageWire

/// Decides when a write to the replicas of one object or table is done: durable on a majority, and listed on a majority of the
/// container's replicas.
///
/// A value without I/O: replies go in, what to do next comes out. Indices are those of the primaries. A handoff keeps data for a
/// primary that is away but never votes. The i-th primary writes the i-th row; the proxy writes it itself when that primary is away,
/// so that a lost node, which may hold one object's replica and another's container replica, costs one vote of each and not two rows.
package struct WriteQuorum: Sendable {
    package enum Action: Equatable, Sendable {
        case wait
        /// Write to a handoff in place of this primary; and as in `writeRows`.
        case tryHandoff(primary: Int, rows: [Int])
        /// The object is durable and only rows are lacking: write those of these primaries yourself.
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
    private enum Listing { case pending, asked, stored, failed }

    private var replicas: [Replica]
    private var rows: [Listing]
    private var newest = Timestamp.never
    private var decided = false
    private let majority: Int
    private let writesRows: Bool

    /// - Parameters:
    ///   - replicas: number of primaries, at least 1.
    ///   - writesRows: whether rows can be written without their primaries; each that is asked for is answered with `receiveRow`.
    package init(replicas: Int, writesRows: Bool = false) {
        self.replicas = Array(repeating: .pending, count: replicas)
        rows = Array(repeating: .pending, count: replicas)
        majority = replicas / 2 + 1
        self.writesRows = writesRows
    }

    /// Takes the answer of replica `index`; late answers change nothing.
    package mutating func receive(_ answer: Answer, from index: Int) -> Action {
        guard !decided, index < replicas.count, replicas[index] == .pending else { return .wait }
        switch answer {
        case .stored(let row):
            replicas[index] = .stored
            if row { rows[index] = .stored } else if rows[index] == .pending { rows[index] = .failed }
        case .superseded(let timestamp):
            replicas[index] = .superseded
            newest = max(newest, timestamp)
        case .failed:
            replicas[index] = .failed
            if !writesRows { rows[index] = .failed }
        }
        return decide(failedNow: answer == .failed ? index : nil)
    }

    /// Takes what became of a row that was asked for.
    package mutating func receiveRow(stored: Bool, from index: Int) -> Action {
        guard !decided, index < rows.count, rows[index] == .asked else { return .wait }
        rows[index] = stored ? .stored : .failed
        return decide(failedNow: nil)
    }

    private mutating func decide(failedNow: Int?) -> Action {
        if newest != .never {
            // What was stored below the newer write is overwritten by the retry; waiting for the rest gains nothing.
            decided = true
            return .retry(above: newest)
        }
        let stored = replicas.count { $0 == .stored }
        let listed = rows.count { $0 == .stored }
        if stored >= majority, listed >= majority {
            decided = true
            return .succeed
        }
        let mayStore = replicas.count { $0 == .pending }
        let mayList = rows.count { $0 == .pending || $0 == .asked }
        if stored + mayStore < majority || listed + mayList < majority {
            decided = true
            return .fail
        }
        let lacking = wantedRows(stored: stored)
        if let failedNow { return .tryHandoff(primary: failedNow, rows: lacking) }
        return lacking.isEmpty ? .wait : .writeRows(lacking)
    }

    /// Not before the object is durable: a row without an object would be listed and could not be read.
    private mutating func wantedRows(stored: Int) -> [Int] {
        guard writesRows, stored >= majority else { return [] }
        let lacking = rows.indices.filter { rows[$0] == .pending }
        for index in lacking { rows[index] = .asked }
        return lacking
    }
}
