package import StorageWire

/// What one member remembers of the decisions on the cluster map. A value without I/O: whoever holds it makes it durable before an
/// answer leaves.
///
/// Each version of the map is decided once, by a majority of the nodes in the version before it (single-decree Paxos for each version, so
/// that the members may change with every version). A member that knows version n takes part in the decision on n + 1 only.
package struct MapAcceptor: Equatable, Sendable {
    /// A value and the attempt in which it was accepted.
    package struct Accepted: Equatable, Sendable {
        package var ballot: MapBallot
        package var value: [UInt8]

        package init(ballot: MapBallot, value: [UInt8]) {
            self.ballot = ballot
            self.value = value
        }
    }

    /// What a member says.
    package enum Answer: Equatable, Sendable {
        /// No older attempt is accepted from now on; this is what was accepted before, if anything.
        case promised(Accepted?)
        case accepted
        /// A newer attempt has the promise.
        case refused(MapBallot)
        /// The member's map is older than the one before the version in question.
        case behind(version: UInt64)
        /// That version has been decided; this is the newest map.
        case decided(version: UInt64, value: [UInt8])
    }

    /// The newest version that is known to be decided, 0 for none.
    package private(set) var version: UInt64
    /// The map of that version.
    package private(set) var value: [UInt8]
    /// The newest attempt at the next version that has a promise.
    package private(set) var promised: MapBallot?
    /// What is accepted for the next version.
    package private(set) var accepted: Accepted?

    package init(version: UInt64 = 0, value: [UInt8] = [], promised: MapBallot? = nil, accepted: Accepted? = nil) {
        self.version = version
        self.value = value
        self.promised = promised
        self.accepted = accepted
    }

    package mutating func prepare(version asked: UInt64, _ ballot: MapBallot) -> Answer {
        if let answer = place(asked) { return answer }
        if let promised, ballot < promised { return .refused(promised) }
        promised = ballot
        return .promised(accepted)
    }

    package mutating func accept(version asked: UInt64, _ ballot: MapBallot, _ value: [UInt8]) -> Answer {
        if let answer = place(asked) { return answer }
        if let promised, ballot < promised { return .refused(promised) }
        promised = ballot
        accepted = Accepted(ballot: ballot, value: value)
        return .accepted
    }

    /// Takes over a decided map.
    ///
    /// - Returns: whether it is newer than what was known.
    package mutating func learn(version: UInt64, _ value: [UInt8]) -> Bool {
        guard version > self.version else { return false }
        self = MapAcceptor(version: version, value: value)
        return true
    }

    /// The answer to who asks about a version that is not the next one.
    private func place(_ asked: UInt64) -> Answer? {
        if asked <= version { return .decided(version: version, value: value) }
        return asked - version > 1 ? .behind(version: version) : nil
    }
}
