import Access
import ClusterMap
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// Has the cluster map changed: prepares and accepts on a majority of the members until the change is decided. Blocks its thread.
struct MapChanger {
    private let service: MapService

    /// After that the change is given up; its outcome may be open then.
    private static let patience = 8.0
    /// So long a majority is looked for: a node that has just come back may not be known to be there yet.
    private static let majorityPatience = 4.0
    private static let longestPause = 400

    init(_ service: MapService) { self.service = service }

    /// - Throws: `MapRefusal` in words for who asked.
    func change(_ change: MapChange) throws -> ChangeResult {
        let id = String(decoding: ByteText.hex(try RandomBytes.make(8)), as: UTF8.self)
        let began = MonotonicClock.system.nanoseconds
        let end = began + UInt64(Self.patience * 1e9)
        if case .addNode(let node, _, _) = change { try checkReachable(node) }
        var result: ChangeResult?
        var above: UInt64 = 0
        while MonotonicClock.system.nanoseconds < end {
            guard let map = service.map else { throw MapRefusal("this node has no cluster map") }
            guard map.node(service.nodeID) != nil else { throw MapRefusal("this node is not in the cluster any more") }
            if let result, map.recentChanges.contains(id) { return result }
            // A node that asks again after it did not hear that it was let in.
            if case .addNode(let node, _, _) = change, map.node(node.id) != nil {
                return ChangeResult(version: map.version, moved: [0, 0, 0], unmoved: [0, 0, 0], resting: [0, 0, 0])
            }
            let changed = try map.applying(change, id: id, now: Int(WallClock.system.seconds))
            result = changed.result
            let value = changed.map.encoded()
            guard value.count <= DecidedMap.maximumValue else {
                throw MapRefusal(
                    "the map would have \(value.count) bytes and may have \(DecidedMap.maximumValue): its rings have too "
                        + "many partitions")
            }
            let attempt = try MapAttempt(service: service, base: map, value: value, above: above)
            switch try attempt.run() {
            case .decided(let value, _):
                _ = try service.learn(map.version + 1, value)
                service.tellEverybody()
            case .overtaken(let version, let value): _ = try service.learn(version, value)
            case .outbid(let ballot):
                above = max(above, ballot.round)
                pause()
            case .noMajority(let missing):
                guard MonotonicClock.system.nanoseconds - began < UInt64(Self.majorityPatience * 1e9) else {
                    throw noMajority(map, missing)
                }
                pause()
            case .wait, .accept, .teach: pause()
            }
        }
        if let result, service.map?.recentChanges.contains(id) ?? false { return result }
        throw MapRefusal(
            "other changes of the cluster are under way; this one may still be made: look at `ringfort status` before trying "
                + "again")
    }

    /// Two nodes that compete don't wake up together.
    private func pause() {
        let milliseconds = Int.random(in: 20...Self.longestPause)
        let lock = ConditionLock(value: false)
        _ = lock.lock(whenValue: true, timeoutSeconds: Double(milliseconds) / 1000)
    }

    private func noMajority(_ map: ClusterMap, _ missing: [String]) -> MapRefusal {
        let names = missing.compactMap { map.node($0) }.map { "\($0.name) (\($0.host):\($0.storagePort))" }
        return MapRefusal(
            "no majority of the \(map.nodes.count) nodes can be reached, so nothing may be changed; not answering: "
                + names.joined(separator: ", "))
    }

    /// A node that others can't reach would take partitions and serve none.
    private func checkReachable(_ node: MapNode) throws {
        let others = (service.map?.nodes ?? []).filter { $0.id != node.id }
        let isLocal = Self.isLoopback(node.host)
        if let other = others.first(where: { Self.isLoopback($0.host) != isLocal }) {
            throw MapRefusal(
                isLocal
                    ? "\(node.host) is an address of the node's own machine, but node \(other.name) is at \(other.host): "
                        + "join with --listen or --advertise and an address that others can reach"
                    : "node \(other.name) is known as \(other.host), which only its own machine can reach: restart it "
                        + "with --listen or --advertise and an address that others can reach")
        }
        let remote = service.remote(
            node.host, node.storagePort, LinkEncryption(isOn: service.map?.encryptsLinks ?? false))
        defer { _ = remote.close() }
        let answer = try Replies(service).one(remote, .readMap(newerThan: .max))
        let standing: MapStanding?
        switch answer {
        case .mapStanding(let known): standing = known
        default: standing = nil
        }
        guard standing?.node == Array(node.id.utf8) else {
            let reason: String
            if case .failed(let failure) = answer {
                reason = "\(failure.reason) \(failure.detail)"
            } else {
                reason = "another node answers there"
            }
            throw MapRefusal(
                "\(node.host):\(node.storagePort) can't be reached from node "
                    + "\(service.map?.node(service.nodeID)?.name ?? "") (\(reason)): give --advertise an address that "
                    + "others can reach, and open the port")
        }
    }

    static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}

/// One attempt to decide the next map: asks the members, feeds their answers to the decision. Blocks.
struct MapAttempt {
    private let service: MapService
    private let base: ClusterMap
    private let ballot: MapBallot
    private let value: [UInt8]

    /// - Parameter above: a round that is known to be in use.
    init(service: MapService, base: ClusterMap, value: [UInt8], above: UInt64) throws {
        self.service = service
        self.base = base
        self.value = value
        ballot = MapBallot(
            round: max(above, service.acceptor.promised?.round ?? 0) + 1, node: Array(service.nodeID.utf8))
    }

    private var version: UInt64 { base.version + 1 }

    /// - Returns: an action that ends the attempt.
    func run() throws -> MapProposal.Action {
        var proposal = MapProposal(members: base.nodes.map(\.id), value: value)
        // The own promise comes first and is durable, so that no two attempts of this node have one ballot.
        let own = try service.decide { $0.prepare(version: version, ballot) }
        var action = proposal.receive(own, from: service.nodeID)
        if action == .wait { action = try ask(prepare, &proposal) }
        guard case .accept(let value) = action else { return action }
        let accepted = try service.decide { $0.accept(version: version, ballot, value) }
        action = proposal.receive(accepted, from: service.nodeID)
        guard action == .wait else { return action }
        return try ask(
            .acceptMap(AcceptMap(version: version, ballot: ballot, value: ByteBuffer(bytes: value))), &proposal)
    }

    private var prepare: StorageRequest { .prepareMap(PrepareMap(version: version, ballot: ballot)) }

    /// Asks all other members and waits until the decision is there.
    private func ask(_ request: StorageRequest, _ proposal: inout MapProposal) throws -> MapProposal.Action {
        let replies = Replies(service)
        let peers = service.peers
        let others = base.nodes.map(\.id).filter { $0 != service.nodeID }
        for id in others { replies.ask(peers[id]?.remote, id, request) }
        var open = others.count
        var taught: Set<String> = []
        while open > 0 {
            guard let (id, reply) = replies.next() else { break }
            open -= 1
            var action: MapProposal.Action
            if let answer = answer(reply) {
                action = proposal.receive(answer, from: id)
            } else {
                action = proposal.lost(id)
            }
            if case .teach(let member) = action {
                // Once: a member that stays behind is as good as lost.
                guard taught.insert(member).inserted else {
                    action = proposal.lost(member)
                    if action != .wait { return action }
                    continue
                }
                let known = service.acceptor
                let map = DecidedMap(version: known.version, value: ByteBuffer(bytes: known.value))
                replies.ask(peers[member]?.remote, member, .learnMap(map), then: request)
                open += 1
                continue
            }
            if action != .wait { return action }
        }
        return .wait
    }

    private func answer(_ reply: StorageReply) -> MapAcceptor.Answer? {
        switch reply {
        case .mapPromised(let promise):
            .promised(
                promise.accepted.map {
                    MapAcceptor.Accepted(ballot: $0.ballot, value: Array($0.value.readableBytesView))
                })
        case .mapAccepted: .accepted
        case .mapRefused(let ballot): .refused(ballot)
        case .mapStanding(let standing): .behind(version: standing.version)
        case .map(let standing, let value):
            .decided(version: standing.version, value: Array(value.readableBytesView))
        default: nil
        }
    }
}

/// Replies to questions to several nodes, for a thread that waits for them.
final class Replies: Sendable {
    private let service: MapService
    /// Whether there is a reply that nobody has taken.
    private let waiting = ConditionLock(value: false)
    private let replies = Mutex<[(String, StorageReply)]>([])

    init(_ service: MapService) { self.service = service }

    /// Asks; with `then`, asks that next and only its answer is heard.
    func ask(_ node: RemoteNode?, _ id: String, _ request: StorageRequest, then next: StorageRequest? = nil) {
        guard let node else { return add(id, .failed(StorageFailure(.unreachable, "not connected"))) }
        service.ask(node, request, on: service.group.next()) { [self] reply in
            if let next { ask(node, id, next) } else { add(id, reply) }
        }
    }

    private func add(_ id: String, _ reply: StorageReply) {
        waiting.lock()
        replies.withLock { $0.append((id, reply)) }
        waiting.unlock(withValue: true)
    }

    /// The next reply; `nil` when none comes in time, which calls with deadlines do not let happen.
    func next() -> (String, StorageReply)? {
        // A member that has to be taught is asked twice.
        let seconds = Double(MapService.answerTimeout.nanoseconds) / 1e9 * 2 + 1
        guard waiting.lock(whenValue: true, timeoutSeconds: seconds) else { return nil }
        let (first, isMore) = replies.withLock { replies in (replies.removeFirst(), !replies.isEmpty) }
        waiting.unlock(withValue: isMore)
        return first
    }

    /// Asks one node and waits.
    func one(_ node: RemoteNode, _ request: StorageRequest) throws -> StorageReply {
        ask(node, "", request)
        return next()?.1 ?? .failed(StorageFailure(.deadline))
    }
}
