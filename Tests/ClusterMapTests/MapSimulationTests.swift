import StorageWire
import Testing

@testable import ClusterMap

/// Nodes that change the map at the same time over a network that loses, delays, doubles and reorders, while nodes crash and come back
/// with what they had made durable, and while members come and go.
struct MapSimulationTests {
    @Test(arguments: 0..<60)
    func changesAgree(seed: Int) {
        var simulation = MapSimulation(seed: UInt64(seed))
        simulation.run(steps: 6_000)
        #expect(simulation.problems.isEmpty, "seed \(seed): \(simulation.problems)")
        // A quiet network lets everybody come to an end.
        simulation.calm()
        #expect(simulation.problems.isEmpty, "seed \(seed): \(simulation.problems)")
        #expect(simulation.acknowledged.count >= 3, "seed \(seed): \(simulation.acknowledged.count) changes")
    }
}

/// The value that is agreed on: who is a member, and every change there was.
private struct Value: Equatable {
    var members: [UInt8]
    var changes: [UInt8]

    var bytes: [UInt8] { [UInt8(members.count)] + members + changes }

    init(members: [UInt8], changes: [UInt8]) {
        self.members = members
        self.changes = changes
    }

    init(_ bytes: [UInt8]) {
        let count = Int(bytes[0])
        members = Array(bytes[1..<1 + count])
        changes = Array(bytes[(1 + count)...])
    }
}

private struct MapSimulation {
    private enum Message {
        case prepare(UInt64, MapBallot)
        case accept(UInt64, MapBallot, [UInt8])
        case learn(UInt64, [UInt8])
        /// An answer to the attempt with this number of the node.
        case answer(attempt: Int, MapAcceptor.Answer)
    }

    private struct Letter {
        var from: UInt8
        var to: UInt8
        var message: Message
        var due: Int
    }

    private struct Attempt {
        var number: Int
        var proposal: MapProposal
        var version: UInt64
        var ballot: MapBallot
        var change: UInt8
        var asked: Message
        var began: Int
    }

    private struct Node {
        /// What survives a crash.
        var acceptor = MapAcceptor()
        /// What does not.
        var attempt: Attempt?
        var wanted: UInt8?
        var isUp = true
        var above: UInt64 = 0
        var waitsUntil = 0
    }

    private static let count = 5
    private static let patience = 60

    private var nodes: [Node]
    private var letters: [Letter] = []
    private var random: SimulationRandom
    private var now = 0
    private var attempts = 0
    private var nextChange: UInt8 = 1
    private var isCalm = false
    private var decided: [UInt64: [UInt8]] = [:]
    private(set) var acknowledged: Set<UInt8> = []
    private(set) var problems: [String] = []

    init(seed: UInt64) {
        random = SimulationRandom(seed)
        nodes = [Node](repeating: Node(), count: Self.count)
        let first = Value(members: [0, 1, 2], changes: []).bytes
        for node in 0..<3 { _ = nodes[node].acceptor.learn(version: 1, first) }
        decided[1] = first
    }

    mutating func run(steps: Int) {
        for _ in 0..<steps { step() }
    }

    /// No more trouble and no more wishes.
    mutating func calm() {
        isCalm = true
        for node in nodes.indices { nodes[node].isUp = true }
        for _ in 0..<4_000 { step() }
        let newest = decided.keys.max() ?? 0
        guard let bytes = decided[newest] else { return }
        let value = Value(bytes)
        for change in acknowledged where !value.changes.contains(change) {
            problems.append("change \(change) is lost")
        }
        for member in value.members where nodes[Int(member)].acceptor.version != newest {
            problems.append("node \(member) stays at \(nodes[Int(member)].acceptor.version) of \(newest)")
        }
    }

    private mutating func step() {
        now += 1
        if !isCalm { disturb() }
        spread()
        for index in nodes.indices where nodes[index].isUp { drive(UInt8(index)) }
        deliver()
    }

    private mutating func disturb() {
        if random.below(200) == 0 {
            let node = random.below(Self.count)
            // A crash: only the acceptor comes back, and a wish that was under way is forgotten without an answer.
            nodes[node] = Node(acceptor: nodes[node].acceptor, isUp: false)
        }
        for node in nodes.indices where !nodes[node].isUp && random.below(40) == 0 { nodes[node].isUp = true }
        if random.below(30) == 0 {
            let node = random.below(Self.count)
            if nodes[node].isUp, nodes[node].wanted == nil, nextChange < 250 {
                nodes[node].wanted = nextChange
                nextChange += 1
            }
        }
    }

    /// The newest maps go about, as they do every two seconds.
    private mutating func spread() {
        guard random.below(10) == 0 else { return }
        let from = random.below(Self.count)
        let to = random.below(Self.count)
        guard nodes[from].isUp, nodes[from].acceptor.version > 0 else { return }
        send(UInt8(from), UInt8(to), .learn(nodes[from].acceptor.version, nodes[from].acceptor.value))
    }

    private mutating func drive(_ id: UInt8) {
        let index = Int(id)
        if let attempt = nodes[index].attempt {
            guard now - attempt.began > Self.patience else { return }
            nodes[index].attempt = nil
            nodes[index].waitsUntil = now + random.below(40)
        }
        guard let wanted = nodes[index].wanted, now >= nodes[index].waitsUntil, nodes[index].acceptor.version > 0 else {
            return
        }
        let value = Value(nodes[index].acceptor.value)
        if value.changes.contains(wanted) {
            acknowledged.insert(wanted)
            nodes[index].wanted = nil
            return
        }
        guard value.members.contains(id) else {
            nodes[index].wanted = nil
            return
        }
        begin(id, value, wanted)
    }

    private mutating func begin(_ id: UInt8, _ value: Value, _ wanted: UInt8) {
        var next = value
        next.changes.append(wanted)
        // Members come and go, one with each change.
        let other = UInt8(random.below(Self.count))
        if random.below(3) == 0 {
            if let place = next.members.firstIndex(of: other) {
                if next.members.count > 2, other != id { next.members.remove(at: place) }
            } else {
                next.members.append(other)
            }
        }
        let index = Int(id)
        let version = nodes[index].acceptor.version + 1
        let ballot = MapBallot(
            round: max(nodes[index].above, nodes[index].acceptor.promised?.round ?? 0) + 1, node: [id + 65])
        attempts += 1
        let proposal = MapProposal(members: value.members.map { "\($0)" }, value: next.bytes)
        nodes[index].attempt = Attempt(
            number: attempts, proposal: proposal, version: version, ballot: ballot, change: wanted,
            asked: .prepare(version, ballot), began: now)
        let own = nodes[index].acceptor.prepare(version: version, ballot)
        let number = attempts
        hear(id, from: id, number, own)
        ask(id, number)
    }

    /// Sends what the attempt asks to the other members.
    private mutating func ask(_ id: UInt8, _ number: Int) {
        guard let attempt = nodes[Int(id)].attempt, attempt.number == number else { return }
        for member in attempt.proposal.members {
            guard let to = UInt8(member), to != id else { continue }
            send(id, to, attempt.asked)
        }
    }

    private mutating func hear(_ id: UInt8, from: UInt8, _ number: Int, _ answer: MapAcceptor.Answer) {
        let index = Int(id)
        guard var attempt = nodes[index].attempt, attempt.number == number else { return }
        let action = attempt.proposal.receive(answer, from: "\(from)")
        nodes[index].attempt = attempt
        switch action {
        case .wait: break
        case .accept(let value):
            attempt.asked = .accept(attempt.version, attempt.ballot, value)
            nodes[index].attempt = attempt
            let own = nodes[index].acceptor.accept(version: attempt.version, attempt.ballot, value)
            hear(id, from: id, number, own)
            ask(id, number)
        case .teach(let member):
            guard let to = UInt8(member) else { return }
            send(id, to, .learn(nodes[index].acceptor.version, nodes[index].acceptor.value))
            send(id, to, attempt.asked)
        case .decided(let value, _):
            note(attempt.version, value)
            nodes[index].attempt = nil
            learn(id, attempt.version, value)
        case .overtaken(let version, let value):
            nodes[index].attempt = nil
            learn(id, version, value)
        case .outbid(let ballot):
            nodes[index].above = max(nodes[index].above, ballot.round)
            nodes[index].attempt = nil
            nodes[index].waitsUntil = now + random.below(40)
        case .noMajority: nodes[index].attempt = nil
        }
    }

    private mutating func learn(_ id: UInt8, _ version: UInt64, _ value: [UInt8]) {
        note(version, value)
        if nodes[Int(id)].acceptor.learn(version: version, value) { nodes[Int(id)].above = 0 }
    }

    private mutating func note(_ version: UInt64, _ value: [UInt8]) {
        if let known = decided[version], known != value { problems.append("two values for version \(version)") }
        decided[version] = value
        if let before = decided[version - 1].map({ Value($0).changes }),
            !Value(value).changes.starts(with: before)
        {
            problems.append("version \(version) lacks changes of the one before")
        }
    }

    private mutating func send(_ from: UInt8, _ to: UInt8, _ message: Message) {
        let copies = isCalm ? 1 : [0, 1, 1, 1, 1, 1, 1, 2][random.below(8)]
        for _ in 0..<copies {
            letters.append(
                Letter(from: from, to: to, message: message, due: now + 1 + random.below(isCalm ? 3 : 25)))
        }
    }

    private mutating func deliver() {
        let due = letters.filter { $0.due <= now }
        letters.removeAll { $0.due <= now }
        for letter in due where nodes[Int(letter.to)].isUp { take(letter) }
    }

    private mutating func take(_ letter: Letter) {
        let index = Int(letter.to)
        let number = nodes[Int(letter.from)].attempt?.number ?? 0
        switch letter.message {
        case .prepare(let version, let ballot):
            let answer = nodes[index].acceptor.prepare(version: version, ballot)
            reply(letter, version, ballot, number, answer)
        case .accept(let version, let ballot, let value):
            let answer = nodes[index].acceptor.accept(version: version, ballot, value)
            reply(letter, version, ballot, number, answer)
        case .learn(let version, let value): learn(letter.to, version, value)
        case .answer(let attempt, let answer): hear(letter.to, from: letter.from, attempt, answer)
        }
    }

    /// The answer belongs to the attempt that asked, if that is still under way.
    private mutating func reply(
        _ letter: Letter, _ version: UInt64, _ ballot: MapBallot, _ number: Int, _ answer: MapAcceptor.Answer
    ) {
        guard let attempt = nodes[Int(letter.from)].attempt, attempt.ballot == ballot, attempt.version == version else {
            return
        }
        send(letter.to, letter.from, .answer(attempt: number, answer))
    }
}

/// SplitMix64.
private struct SimulationRandom {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

    mutating func below(_ limit: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ mixed >> 31) % UInt64(limit))
    }
}
