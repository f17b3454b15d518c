import ClusterMap
import Daemon
import Glibc
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// The cluster map of a running node: answers the other members, keeps the newest map and has it changed.
///
/// Decisions are values of the target `ClusterMap`; here are the disk, the clock and the peers. Nothing blocks an event loop: disk and
/// changes have threads of their own.
final class MapService: Sendable {
    /// Another node of the map.
    struct Peer: Sendable {
        var host: String
        var port: Int
        var remote: RemoteNode
    }

    /// Where this node is reached.
    struct Address: Sendable {
        var host: String
        var storagePort: Int
        var apiPort: Int
    }

    private struct State {
        var map: ClusterMap?
        var peers: [String: Peer] = [:]
        var listeners: [@Sendable () -> Void] = []
        /// Nodes whose clock was found wrong, so that each is reported once.
        var wrongClocks: Set<String> = []
        var isCorrecting = false
        /// The last correction failed, which has been reported.
        var isCorrectionReported = false
    }

    let nodeID: String
    let group: MultiThreadedEventLoopGroup
    let logger: Logger
    private let file: MapFile
    private let credentials: WireCredentials
    private let state = Mutex(State())
    /// One thread that writes the file, one that makes changes and waits for peers, and one on which listeners hear of maps.
    private let disk = NIOThreadPool(numberOfThreads: 1)
    private let changes = NIOThreadPool(numberOfThreads: 1)
    private let followers = NIOThreadPool(numberOfThreads: 1)
    /// Messages that wait for one of these threads.
    private let waiting = Atomic<Int>(0)
    /// The newest version that was taken over.
    private let taken = Mutex<UInt64>(0)

    static let answerTimeout = TimeAmount.seconds(2)
    private static let spreadInterval = TimeAmount.seconds(2)
    /// Messages may hold a map each.
    private static let maximumWaiting = 64
    /// Nodes that are asked each time.
    private static let asked = 3
    /// A clock that is further off is reported: who has the newest time wins a write.
    static let tolerableSkew = 2.0

    init(
        path: String, nodeID: String, group: MultiThreadedEventLoopGroup, credentials: WireCredentials, logger: Logger
    ) throws {
        self.nodeID = nodeID
        self.group = group
        self.credentials = credentials
        self.logger = logger
        file = try MapFile(path: path)
        let known = file.current
        if known.version > 0 {
            let map: ClusterMap
            do { map = try ClusterMap(decoding: known.value) } catch { throw CommandError("\(path): \(error)") }
            state.withLock { $0.map = map }
            connect(map)
        }
        disk.start()
        changes.start()
        followers.start()
    }

    /// The newest map, `nil` before the node has one.
    var map: ClusterMap? { state.withLock { $0.map } }

    /// The nodes that have the devices of the map, by device id; `local` has those of this node.
    func nodes(local: any StorageNode) -> [UInt16: any StorageNode] {
        state.withLock { state in
            var nodes: [UInt16: any StorageNode] = [:]
            for device in state.map?.devices ?? [] {
                nodes[UInt16(truncatingIfNeeded: device.id)] =
                    device.node == nodeID ? local : state.peers[device.node]?.remote
            }
            return nodes
        }
    }

    var peers: [String: Peer] { state.withLock { $0.peers } }

    /// Called after every newer map from now on, on a thread that may block.
    func onChange(_ listener: @escaping @Sendable () -> Void) {
        state.withLock { $0.listeners.append(listener) }
    }

    /// Makes the first map of a cluster. Blocks.
    func found(_ map: ClusterMap) throws {
        _ = try learn(map.version, map.encoded())
    }

    /// Begins to ask other nodes for newer maps, and to have the own address in the map corrected when it is another.
    func start(at address: Address) {
        let eventLoop = group.next()
        eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.spreadInterval) { [weak self] _ in
            self?.correct(address)
        }
        eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: Self.spreadInterval) { [weak self] _ in
            self?.spread(on: eventLoop)
        }
    }

    private func correct(_ address: Address) {
        guard let node = map?.node(nodeID),
            node.host != address.host || node.storagePort != address.storagePort || node.apiPort != address.apiPort,
            state.withLock({ state in
                defer { state.isCorrecting = true }
                return !state.isCorrecting
            })
        else { return }
        changes.submit { [self] state in
            defer { self.state.withLock { $0.isCorrecting = false } }
            guard case .active = state else { return }
            let change = MapChange.moveNode(
                id: nodeID, host: address.host, storagePort: address.storagePort, apiPort: address.apiPort)
            do {
                _ = try MapChanger(self).change(change)
                self.state.withLock { $0.isCorrectionReported = false }
            } catch {
                let isNews = self.state.withLock { state in
                    defer { state.isCorrectionReported = true }
                    return !state.isCorrectionReported
                }
                guard isNews else { return }
                logger.warning(
                    "Other nodes can't be told the new address of this one yet", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// Has the map changed; `then` hears of the outcome on a thread that may block.
    func propose(_ change: MapChange, then: @escaping @Sendable (Result<ChangeResult, any Error>) -> Void) {
        changes.submit { [self] state in
            guard case .active = state else { return then(.failure(StorageFailure(.closing))) }
            then(Result { try MapChanger(self).change(change) })
        }
    }

    /// Waits for a change under way. Blocks.
    func close() {
        try? changes.syncShutdownGracefully()
        try? disk.syncShutdownGracefully()
        try? followers.syncShutdownGracefully()
        for peer in peers.values { try? peer.remote.close().wait() }
    }

    // MARK: Answering

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .readMap(let version): call.reply(standing(newerThan: version))
        case .prepareMap(let message):
            answer(call) { $0.prepare(version: message.version, message.ballot) }
        case .acceptMap(let message):
            let value = Array(message.value.readableBytesView)
            answer(call) { $0.accept(version: message.version, message.ballot, value) }
        case .learnMap(let message):
            let value = Array(message.value.readableBytesView)
            blocking(disk, call) { service in
                _ = try service.learn(message.version, value)
                return service.standing(newerThan: message.version)
            }
        case .changeMap(let change):
            let bytes = Array(change.readableBytesView)
            blocking(changes, call) { service in
                guard let json = try? JSONValue(parsing: bytes), let change = MapChange(json: json) else {
                    throw MapRefusal("this version does not know the change")
                }
                let result = try MapChanger(service).change(change)
                return .mapChanged(ByteBuffer(bytes: result.json.encoded))
            }
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .putRow, .updateTable, .deleteTable, .deleteAccount, .readTable, .listTable, .status, .replication,
            .workers,
            .setWorker, .verifyObject, .program, .users:
            call.reply(.failed(StorageFailure(.malformed, "not about the cluster map")))
        }
    }

    private func answer(_ call: ServerCall, _ body: @escaping @Sendable (inout MapAcceptor) -> MapAcceptor.Answer) {
        blocking(disk, call) { service in
            switch try service.decide(body) {
            case .promised(let accepted):
                return .mapPromised(
                    MapPromise(
                        accepted: accepted.map {
                            AcceptedMap(ballot: $0.ballot, value: ByteBuffer(bytes: $0.value))
                        }))
            case .accepted: return .mapAccepted
            case .refused(let ballot): return .mapRefused(ballot)
            case .behind(let version): return .mapStanding(service.standing(version))
            case .decided(let version, let value): return .map(service.standing(version), ByteBuffer(bytes: value))
            }
        }
    }

    private func blocking(
        _ pool: NIOThreadPool, _ call: ServerCall, _ body: @escaping @Sendable (MapService) throws -> StorageReply
    ) {
        let eventLoop = call.eventLoop
        guard waiting.add(1, ordering: .relaxed).newValue <= Self.maximumWaiting else {
            waiting.subtract(1, ordering: .relaxed)
            return call.reply(.failed(StorageFailure(.busy, "too many messages about the cluster map are waiting")))
        }
        pool.submit { [self] state in
            defer { waiting.subtract(1, ordering: .relaxed) }
            let reply: StorageReply
            do {
                guard case .active = state else { throw StorageFailure(.closing) }
                reply = try body(self)
            } catch let refusal as MapRefusal {
                reply = .failed(StorageFailure(.refused, refusal.description))
            } catch let failure as StorageFailure { reply = .failed(failure) } catch {
                logger.error("The cluster map can't be kept", metadata: ["error": "\(error)"])
                reply = .failed(StorageFailure(.io, "\(error)"))
            }
            eventLoop.execute { call.reply(reply) }
        }
    }

    private func standing(_ version: UInt64) -> MapStanding {
        MapStanding(node: Array(nodeID.utf8), version: version, clock: WallClock.system.ticks)
    }

    private func standing(newerThan version: UInt64) -> StorageReply {
        let known = file.current
        return known.version > version
            ? .map(standing(known.version), ByteBuffer(bytes: known.value)) : .mapStanding(standing(known.version))
    }

    // MARK: Knowing

    /// Asks the own acceptor. Blocks.
    func decide<Answer: Sendable>(_ body: (inout MapAcceptor) -> Answer) throws -> Answer { try file.update(body) }

    /// What the own acceptor knows.
    var acceptor: MapAcceptor { file.current }

    /// Takes over a decided map and tells the listeners. Blocks.
    ///
    /// - Returns: whether it was newer.
    func learn(_ version: UInt64, _ value: [UInt8]) throws -> Bool {
        guard version > file.current.version else { return false }
        let map = try ClusterMap(decoding: value)
        guard map.version == version, map.clusterID == String(decoding: credentials.clusterId, as: UTF8.self) else {
            throw ClusterMapError("version or cluster of a map are not what was said")
        }
        guard try file.update({ $0.learn(version: version, value) }) else { return false }
        taken.withLock { taken in
            guard version > taken else { return }
            taken = version
            state.withLock { $0.map = map }
            connect(map)
            logger.notice(
                "The cluster map has changed",
                metadata: [
                    "version": "\(version)", "nodes": "\(map.nodes.count)", "devices": "\(map.devices.count)",
                ])
            if map.node(nodeID) == nil {
                logger.warning("This node is not in the cluster any more; it can be stopped", metadata: [:])
            }
            followers.submit { [self] activity in
                guard case .active = activity else { return }
                for listener in state.withLock({ $0.listeners }) { listener() }
            }
        }
        return true
    }

    /// Makes connections to new nodes, lets go of those to removed ones, and has all encrypt as the map says.
    private func connect(_ map: ClusterMap) {
        let encryption = LinkEncryption(isOn: map.encryptsLinks)
        let gone: [RemoteNode] = state.withLock { state in
            var peers: [String: Peer] = [:]
            for node in map.nodes where node.id != nodeID {
                let known = state.peers[node.id]
                peers[node.id] =
                    known?.host == node.host && known?.port == node.storagePort
                    ? known
                    : Peer(
                        host: node.host, port: node.storagePort,
                        remote: remote(node.host, node.storagePort, encryption))
                peers[node.id]?.remote.use(encryption)
            }
            let gone = state.peers.filter { peers[$0.key]?.remote !== $0.value.remote }.map(\.value.remote)
            state.peers = peers
            return gone
        }
        for node in gone { _ = node.close() }
    }

    /// A node that is reached there.
    func remote(_ host: String, _ port: Int, _ encryption: LinkEncryption) -> RemoteNode {
        RemoteNode(
            host: host, port: port, group: group, credentials: credentials, encryption: encryption, logger: logger)
    }

    // MARK: Spreading

    /// Asks some of the other nodes whether they have a newer map, and tells those that have an older one.
    private func spread(on eventLoop: any EventLoop) {
        let version = file.current.version
        for (id, peer) in peers.shuffled().prefix(Self.asked) {
            let began = WallClock.system.ticks
            ask(peer.remote, .readMap(newerThan: version), on: eventLoop) { [weak self] reply in
                self?.heard(reply, from: id, peer, began: began)
            }
        }
    }

    private func heard(_ reply: StorageReply, from id: String, _ peer: Peer, began: UInt64) {
        switch reply {
        case .map(let standing, let value):
            let bytes = Array(value.readableBytesView)
            take(standing.version, bytes)
            noteClock(standing, id, began: began)
        case .mapStanding(let standing):
            let known = file.current
            if standing.version < known.version { tell(peer, known) }
            noteClock(standing, id, began: began)
        default: break
        }
    }

    private func take(_ version: UInt64, _ value: [UInt8]) {
        disk.submit { [self] state in
            guard case .active = state else { return }
            do { _ = try learn(version, value) } catch {
                logger.error(
                    "A newer cluster map can't be taken over",
                    metadata: ["version": "\(version)", "error": "\(error)"])
            }
        }
    }

    private func tell(_ peer: Peer, _ known: MapAcceptor) {
        let message = DecidedMap(version: known.version, value: ByteBuffer(bytes: known.value))
        ask(peer.remote, .learnMap(message), on: group.next()) { _ in }
    }

    /// Tells all other nodes of the newest map.
    func tellEverybody() {
        let known = file.current
        for peer in peers.values { tell(peer, known) }
    }

    private func noteClock(_ standing: MapStanding, _ id: String, began: UInt64) {
        let offset = ClockOffset.seconds(theirs: standing.clock, asked: began, answered: WallClock.system.ticks)
        let isWrong = abs(offset) > Self.tolerableSkew
        let isNews = state.withLock { state in
            isWrong ? state.wrongClocks.insert(id).inserted : state.wrongClocks.remove(id) != nil
        }
        guard isNews else { return }
        let name = map?.node(id)?.name ?? id
        if isWrong {
            logger.warning(
                "The clocks of two nodes differ: set them right, for the newest time wins a write",
                metadata: ["node": "\(name)", "offset_seconds": "\(offset)"])
        } else {
            logger.notice("The clock of a node is right again", metadata: ["node": "\(name)"])
        }
    }

    /// One question, whose answer is heard on `eventLoop`.
    func ask(
        _ node: RemoteNode, _ request: StorageRequest, on eventLoop: any EventLoop,
        timeout: TimeAmount = MapService.answerTimeout, _ then: @escaping @Sendable (StorageReply) -> Void
    ) {
        eventLoop.execute { node.ask(request, within: timeout, on: eventLoop).whenSuccess(then) }
    }
}

/// How far another clock is ahead.
enum ClockOffset {
    /// Seconds, as good as half the time that the question took. All times in 10-microsecond ticks.
    static func seconds(theirs: UInt64, asked: UInt64, answered: UInt64) -> Double {
        let middle = Int64(clamping: asked) + (Int64(clamping: answered) - Int64(clamping: asked)) / 2
        let offset = Double(Int64(clamping: theirs) - middle) / Double(WallClock.ticksPerSecond)
        return (offset * 1000).rounded() / 1000
    }
}
