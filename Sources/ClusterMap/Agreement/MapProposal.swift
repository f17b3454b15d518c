package import StorageWire

/// One attempt to decide the next version of the cluster map. A value without I/O: takes what members answer, says what to do.
///
/// First a majority promises to take nothing older. If one of them has accepted a value already, that value may have been decided
/// and is proposed instead of the attempt's own; the change then begins again on top of it.
package struct MapProposal: Sendable {
    package enum Action: Equatable, Sendable {
        case wait
        /// Ask all members to accept this value.
        case accept([UInt8])
        /// The member lacks the map before this version: tell it, then repeat the question.
        case teach(String)
        /// The value is decided. `isOwn` is false when it is another attempt's.
        case decided([UInt8], isOwn: Bool)
        /// The version is decided, and this newest map with it.
        case overtaken(version: UInt64, value: [UInt8])
        /// A newer attempt is under way: try again above it, after a while.
        case outbid(MapBallot)
        /// So many members can't be reached that the rest is no majority.
        case noMajority(missing: [String])
    }

    private enum Phase {
        case preparing
        case accepting
        case over
    }

    /// The nodes of the map before, by their ids.
    package let members: [String]
    private let own: [UInt8]
    private var phase = Phase.preparing
    private var proposed: [UInt8]
    private var highest: MapBallot?
    private var agreed: Set<String> = []
    private var missing: Set<String> = []

    /// - Parameters:
    ///   - members: the nodes of the newest map.
    ///   - value: the map that is wanted next.
    package init(members: [String], value: [UInt8]) {
        self.members = members
        own = value
        proposed = value
    }

    private var majority: Int { members.count / 2 + 1 }

    package mutating func receive(_ answer: MapAcceptor.Answer, from member: String) -> Action {
        guard members.contains(member) else { return .wait }
        switch (phase, answer) {
        case (.over, _): return .wait
        case (_, .decided(let version, let value)):
            phase = .over
            return .overtaken(version: version, value: value)
        case (_, .refused(let ballot)):
            phase = .over
            return .outbid(ballot)
        case (_, .behind): return .teach(member)
        case (.preparing, .promised(let accepted)): return promised(accepted, by: member)
        case (.accepting, .accepted): return accepted(by: member)
        // Answers that come late or twice.
        case (.accepting, .promised), (.preparing, .accepted): return .wait
        }
    }

    /// The member can't be reached or does not answer in time.
    package mutating func lost(_ member: String) -> Action {
        guard members.contains(member), phase != .over, !agreed.contains(member) else { return .wait }
        missing.insert(member)
        guard members.count - missing.count < majority else { return .wait }
        phase = .over
        return .noMajority(missing: missing.sorted())
    }

    private mutating func promised(_ accepted: MapAcceptor.Accepted?, by member: String) -> Action {
        agreed.insert(member)
        missing.remove(member)
        if let accepted, highest.map({ $0 < accepted.ballot }) ?? true {
            highest = accepted.ballot
            proposed = accepted.value
        }
        guard agreed.count >= majority else { return .wait }
        phase = .accepting
        agreed = []
        missing = []
        return .accept(proposed)
    }

    private mutating func accepted(by member: String) -> Action {
        agreed.insert(member)
        missing.remove(member)
        guard agreed.count >= majority else { return .wait }
        phase = .over
        return .decided(proposed, isOwn: proposed == own)
    }
}
