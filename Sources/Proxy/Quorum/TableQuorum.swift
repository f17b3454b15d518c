package import StorageWire

/// Puts together what the replicas of a table say of it: done when two of a majority agree on the rows, or when all have spoken.
///
/// A value without I/O.
package struct TableQuorum: Sendable {
    package enum Action: Equatable, Sendable {
        case wait
        case done
        case fail
    }

    private var replies: [TableReply?]
    private var hasFailed: [Bool]
    private let majority: Int
    /// A majority need not wait for those that are silent.
    private var isLate = false

    package init(replicas: Int) {
        replies = Array(repeating: nil, count: replicas)
        hasFailed = Array(repeating: false, count: replicas)
        majority = replicas / 2 + 1
    }

    package mutating func receive(_ reply: TableReply, from index: Int) -> Action {
        guard index < replies.count else { return .wait }
        replies[index] = reply
        hasFailed[index] = false
        return decide()
    }

    package mutating func receiveFailure(from index: Int) -> Action {
        guard index < replies.count else { return .wait }
        // What it said before still holds.
        hasFailed[index] = replies[index] == nil
        return decide()
    }

    /// The replicas take longer than they use to: what a majority says counts as if the silent ones had failed.
    package mutating func receiveSilence() -> Action {
        isLate = true
        return decide()
    }

    /// The reply whose rows a majority shares; without one, that of the newest row.
    package var agreed: TableReply? {
        let present = replies.compactMap { $0 }
        let shared = present.first { reply in present.count { $0.hasRows(of: reply) } >= majority }
        return shared ?? present.max { $0.lastChange < $1.lastChange }
    }

    /// A replica that has the agreed rows and is not among these.
    package func holder(except excluded: Set<Int>) -> Int? {
        guard let agreed, agrees(with: agreed) else { return nil }
        return replies.indices.first { !excluded.contains($0) && replies[$0]?.hasRows(of: agreed) ?? false }
    }

    /// Whether a majority holds the same rows as `reply`.
    package func agrees(with reply: TableReply) -> Bool {
        replies.count { $0?.hasRows(of: reply) ?? false } >= majority
    }

    /// The newest of all heads, item by item.
    package func head() throws(WireError) -> TableHead? {
        var merged: TableHead?
        for encoded in replies.compactMap({ $0?.head }) {
            let head = try TableHead(decoding: encoded)
            if merged == nil { merged = head } else { merged?.merge(head) }
        }
        return merged
    }

    /// What is agreed: the newest of all heads, and the rows of a majority.
    func state() throws(WireError) -> TableState {
        TableState(head: try head(), sums: agreed?.sums ?? [], lastChange: agreed?.lastChange ?? .never)
    }

    private func decide() -> Action {
        let present = replies.count { $0 != nil }
        let failed = hasFailed.count { $0 }
        if present + failed == replies.count { return present >= majority ? .done : .fail }
        if failed > replies.count - majority { return .fail }
        guard present >= majority, let agreed else { return .wait }
        return isLate || agrees(with: agreed) ? .done : .wait
    }
}

extension TableReply {
    /// Same rows, deleted ones included; never while rows are being written under a page.
    package func hasRows(of other: TableReply) -> Bool {
        guard digest != ListingReply.unsettledDigest || sums.isEmpty && lastChange == .never else { return false }
        return digest == other.digest && sums == other.sums && lastChange == other.lastChange
    }
}
