package import StorageWire

/// Decides which replica's answer to a read is the right one: the newest of a majority.
///
/// A value without I/O. The first replica is asked for everything, a second one only for its version; the machine asks further
/// ones as answers are missing or differ.
package struct ReadQuorum: Sendable {
    package enum Version: Equatable, Sendable {
        case absent
        case tombstone(Timestamp)
        case live(Timestamp)

        package var timestamp: Timestamp {
            switch self {
            case .absent: .never
            case .tombstone(let timestamp), .live(let timestamp): timestamp
            }
        }
    }

    package enum Action: Equatable, Sendable {
        case wait
        /// Ask this replica for its version.
        case askVersion(Int)
        /// Ask this replica for everything: it has the newest.
        case askAll(Int)
        /// The answer of this replica is the one; the replicas in `stale` were seen to be behind it.
        case answer(from: Int, stale: [Int])
        /// A majority says that nothing is there.
        case notFound(Version)
        /// No majority can be had.
        case fail
    }

    private enum Replica: Equatable {
        case unasked
        /// `heard` is what it has said of its version, when it is asked again for everything.
        case asked(full: Bool, heard: Version = .absent)
        case answered(Version, full: Bool)
        case failed
    }

    private var replicas: [Replica]
    private let majority: Int
    private var decided = false
    /// Silent replicas are waited for no longer than it takes to hear a majority.
    private var isHurried = false
    /// Ask all replicas before answering (`X-Newest`).
    private let asksAll: Bool

    package init(replicas: Int, asksAll: Bool = false) {
        self.replicas = Array(repeating: .unasked, count: replicas)
        majority = replicas / 2 + 1
        self.asksAll = asksAll
    }

    /// The replicas to ask at the start: the first one for everything.
    package mutating func begin(order: [Int]) -> (full: Int, versions: [Int]) {
        let wanted = asksAll ? order.count : min(majority, order.count)
        for (place, index) in order.prefix(wanted).enumerated() { replicas[index] = .asked(full: place == 0) }
        return (order[0], Array(order.prefix(wanted).dropFirst()))
    }

    package mutating func receive(_ version: Version, full: Bool, from index: Int) -> Action {
        guard !decided, index < replicas.count else { return .wait }
        replicas[index] = .answered(version, full: full)
        return decide()
    }

    package mutating func receiveFailure(from index: Int) -> Action {
        guard !decided, index < replicas.count else { return .wait }
        replicas[index] = .failed
        return decide()
    }

    /// Somebody has been silent for long: another replica is asked in its place, for everything unless that is there already, and
    /// a majority that differs has to do.
    package mutating func hurry() -> Action {
        guard !decided else { return .wait }
        isHurried = true
        guard let next = replicas.firstIndex(of: .unasked) else { return decide() }
        let hasFull = replicas.contains { if case .answered(_, full: true) = $0 { true } else { false } }
        replicas[next] = .asked(full: !hasFull)
        return hasFull ? .askVersion(next) : .askAll(next)
    }

    /// Replicas that answered with something older than this.
    package func staleReplicas(than timestamp: Timestamp) -> [Int] {
        replicas.indices.filter { index in
            if case .answered(let version, _) = replicas[index] { version.timestamp < timestamp } else { false }
        }
    }

    private mutating func decide() -> Action {
        var answered = 0
        var asked = 0
        var newest = Version.absent
        for replica in replicas {
            switch replica {
            case .answered(let version, _):
                answered += 1
                if version.timestamp > newest.timestamp { newest = version }
            case .asked(_, let heard):
                asked += 1
                if heard.timestamp > newest.timestamp { newest = heard }
            case .unasked, .failed: break
            }
        }
        if answered < majority || (asksAll && asked > 0) {
            if answered + asked >= majority { return .wait }
            return askNext() ?? end(.fail)
        }
        switch newest {
        case .absent, .tombstone: return end(.notFound(newest))
        case .live(let timestamp): return answer(timestamp, asked: asked)
        }
    }

    private mutating func answer(_ timestamp: Timestamp, asked: Int) -> Action {
        var holders = 0
        var stale: [Int] = []
        var full: Int?
        var other: Int?
        for (index, replica) in replicas.enumerated() {
            guard case .answered(let version, let isFull) = replica else { continue }
            if version.timestamp == timestamp {
                holders += 1
                if isFull { full = full ?? index } else { other = other ?? index }
            } else {
                stale.append(index)
            }
        }
        // A write that a minority holds may have been refused to its client: before anybody is shown it, the others are asked.
        if holders < majority, asked > 0, !isHurried { return .wait }
        if holders < majority, let next = askNext() { return next }
        if let full { return end(.answer(from: full, stale: stale)) }
        // The one that has it is asked for it already.
        guard let other else { return .wait }
        replicas[other] = .asked(full: true, heard: .live(timestamp))
        return .askAll(other)
    }

    private mutating func askNext() -> Action? {
        guard let next = replicas.firstIndex(of: .unasked) else { return nil }
        // Whoever has failed to answer in full may have been the only one asked for the body.
        let hasFull = replicas.contains {
            switch $0 {
            case .answered(_, full: true), .asked(full: true, _): true
            default: false
            }
        }
        replicas[next] = .asked(full: !hasFull)
        return hasFull ? .askVersion(next) : .askAll(next)
    }

    private mutating func end(_ action: Action) -> Action {
        decided = true
        return action
    }
}
