import Access
import ClusterMap
import Logging
import NIOCore
import NIOPosix
import StorageWire
import Synchronization

/// The users of a running node: notices when their file was edited, and brings all nodes of the cluster to the newest of each user.
///
/// A node asks others with digests of what it knows and takes over what is newer there. Who is asked and knows something else asks back, so
/// that nobody is ever told what he did not ask for. All nodes are asked after an edit and at the start, some of them every second.
/// What is known is in the file: the command line and this process edit it under its lock.
final class UserService: Sendable {
    /// What goes on with another node.
    private struct Peer {
        var isAsked = false
        /// To be asked once more, since something happened meanwhile.
        var isWanted = false
        /// With what the node asked last: what it asks with all the time is answered by one question.
        var heard: [UInt64] = []
    }

    private struct State {
        var users: UserFile
        /// Of the file that was read last, sound or not.
        var version: UserStore.Version?
        var peers: [String: Peer] = [:]
        var listeners: [@Sendable (UserFile, UserStore.Version?) -> Void] = []
        var isLooking = false
        /// By the node that they came from, so that each is reported once.
        var problems: [String: String] = [:]
    }

    private let store: UserStore
    private let map: MapService
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let state: Mutex<State>
    /// One thread, so that no two edits of this process wait for each other under the lock of the file.
    private let disk = NIOThreadPool(numberOfThreads: 1)
    /// Questions that wait for it.
    private let waiting = Atomic<Int>(0)

    /// Between two looks at the file.
    private static let lookInterval = TimeAmount.milliseconds(250)
    private static let askInterval = TimeAmount.seconds(1)
    private static let answerTimeout = TimeAmount.seconds(5)
    /// Nodes that are asked each time.
    private static let asked = 3
    private static let maximumWaiting = 64
    /// All that a users file can have, and a little.
    private static let maximumPages = 2 * UserFile.maximumFileSize / UserPage.maximumLines

    /// - Throws: `CommandError` when the file can't be read.
    init(store: UserStore, map: MapService, logger: Logger) throws {
        self.store = store
        self.map = map
        self.logger = logger
        eventLoop = map.group.next()
        do {
            let version = try store.version()
            state = Mutex(State(users: try store.load(), version: version))
        } catch { throw CommandError("\(store.path): \(error)") }
        disk.start()
    }

    /// Called with the users whenever they have changed, on a thread that may block.
    func onChange(_ listener: @escaping @Sendable (UserFile, UserStore.Version?) -> Void) {
        state.withLock { $0.listeners.append(listener) }
    }

    func start() {
        eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.lookInterval) { [weak self] _ in self?.look() }
        eventLoop.scheduleRepeatedTask(initialDelay: Self.askInterval, delay: Self.askInterval) { [weak self] _ in
            self?.askSome()
        }
        // The file may have been edited while nothing ran here.
        askAll()
    }

    /// Waits for an edit under way. Blocks.
    func close() { try? disk.syncShutdownGracefully() }

    // MARK: The file

    private func look() {
        let isFree = state.withLock { state in
            defer { state.isLooking = true }
            return !state.isLooking
        }
        guard isFree else { return }
        disk.submit { [self] activity in
            defer { state.withLock { $0.isLooking = false } }
            guard case .active = activity else { return }
            let before = state.withLock { $0.users.digests }
            if reload(), state.withLock({ $0.users.digests }) != before { askAll() }
        }
    }

    /// Reads the file if it is another than before, and tells the listeners. Blocks.
    ///
    /// - Returns: whether it was.
    private func reload() -> Bool {
        let version: UserStore.Version?
        do throws(UserStore.Failure) {
            version = try store.version()
            guard version != state.withLock({ $0.version }) else { return false }
        } catch {
            note("\(error)", from: map.nodeID)
            return false
        }
        do throws(UserStore.Failure) {
            let users = try store.load(knowing: state.withLock { $0.users })
            let listeners = state.withLock { state in
                state.users = users
                state.version = version
                return state.listeners
            }
            for listener in listeners { listener(users, version) }
            note(nil, from: map.nodeID)
            return true
        } catch {
            // What the file says wrongly is not read again until it says something else.
            if case .content = error { state.withLock { $0.version = version } }
            note("\(error)", from: map.nodeID)
            return false
        }
    }

    /// Takes over what is newer in lines of another node. Blocks.
    ///
    /// - Returns: the last name in the lines; `nil` when nothing could be taken over.
    private func take(_ lines: [UInt8], from node: String) -> [UInt8]? {
        do {
            var users = state.withLock { $0.users }
            let merge = try users.merge(lines)
            if merge.newer > 0 {
                let written = try store.edit(knowing: users) { (users) throws(UserFile.Failure) in
                    try users.merge(lines)
                    return users
                }
                // Others ask for it themselves, unless somebody has edited the file at the same moment.
                if reload(), state.withLock({ $0.users.digests }) != written.digests { askAll() }
            }
            note(nil, from: node)
            return merge.last
        } catch {
            note("\(error)", from: node)
            return nil
        }
    }

    /// Reports a problem when it is not the one of before; `nil` when all is well.
    private func note(_ problem: String?, from node: String) {
        let isNews = state.withLock { state in
            defer { state.problems[node] = problem }
            return state.problems[node] != problem
        }
        guard isNews, let problem else { return }
        if node == map.nodeID {
            logger.error(
                "The users file can't be read; the users of before stay",
                metadata: ["file": "\(store.path)", "error": "\(problem)"])
        } else {
            logger.error(
                "The users of another node can't be taken over",
                metadata: ["node": "\(map.map?.node(node)?.name ?? node)", "error": "\(problem)"])
        }
    }

    // MARK: Asking

    private func askSome() {
        let peers = map.peers
        state.withLock { state in
            state.peers = state.peers.filter { peers[$0.key] != nil }
            state.problems = state.problems.filter { peers[$0.key] != nil || $0.key == map.nodeID }
        }
        for id in peers.keys.shuffled().prefix(Self.asked) { ask(id, insists: false) }
    }

    private func askAll() {
        for id in map.peers.keys { ask(id, insists: true) }
    }

    /// - Parameter insists: whether a question under way, which may have been too early, is followed by another one.
    private func ask(_ id: String, insists: Bool) {
        let isFree = state.withLock { state in
            guard state.peers[id, default: Peer()].isAsked else {
                state.peers[id, default: Peer()].isAsked = true
                return true
            }
            if insists { state.peers[id]?.isWanted = true }
            return false
        }
        if isFree { askPage(of: id, after: [], page: 1) }
    }

    private func askPage(of id: String, after name: [UInt8], page: Int) {
        guard let remote = map.peers[id]?.remote else { return end(id, isReached: false) }
        let query = UserQuery(
            node: Array(map.nodeID.utf8), digests: state.withLock { $0.users.digests }, after: name)
        map.ask(remote, .users(query), on: eventLoop, timeout: Self.answerTimeout) { [self] reply in
            guard case .users(let answer) = reply else { return end(id, isReached: false) }
            guard answer.lines.readableBytes > 0 else { return end(id, isReached: true) }
            disk.submit { [self] activity in
                guard case .active = activity, let last = take(Array(answer.lines.readableBytesView), from: id),
                    !answer.isWhole, name.lexicographicallyPrecedes(last), page < Self.maximumPages
                else { return end(id, isReached: true) }
                askPage(of: id, after: last, page: page + 1)
            }
        }
    }

    private func end(_ id: String, isReached: Bool) {
        let isWanted = state.withLock { state in
            guard let peer = state.peers[id] else { return false }
            // Whoever can't be reached is asked again when he asks next. An answer that is of no use is not asked for again: two nodes would
            // do nothing else.
            state.peers[id] = Peer(heard: isReached ? peer.heard : [])
            return peer.isWanted
        }
        if isWanted { ask(id, insists: true) }
    }

    // MARK: Answering

    func handle(_ query: UserQuery, call: ServerCall) {
        let node = String(decoding: query.node, as: UTF8.self)
        guard map.peers[node] != nil else {
            return call.reply(.failed(StorageFailure(.refused, "users are told to nodes of the cluster only")))
        }
        let eventLoop = call.eventLoop
        guard waiting.add(1, ordering: .relaxed).newValue <= Self.maximumWaiting else {
            waiting.subtract(1, ordering: .relaxed)
            return call.reply(.failed(StorageFailure(.busy, "too many questions about users are waiting")))
        }
        disk.submit { [self] activity in
            defer { waiting.subtract(1, ordering: .relaxed) }
            guard case .active = activity else {
                return eventLoop.execute { call.reply(.failed(StorageFailure(.closing))) }
            }
            let users = state.withLock { $0.users }
            let page = users.page(
                differingFrom: query.digests, after: query.after, limit: UserPage.maximumLines)
            eventLoop.execute {
                call.reply(.users(UserPage(lines: ByteBuffer(bytes: page.lines), isWhole: page.isWhole)))
            }
            if query.after.isEmpty, users.digests != query.digests { hear(query.digests, from: node) }
        }
    }

    /// Another node knows something else: it is asked for it, once.
    private func hear(_ digests: [UInt64], from node: String) {
        let isNews = state.withLock { state in
            guard state.peers[node]?.heard != digests else { return false }
            state.peers[node, default: Peer()].heard = digests
            return true
        }
        if isNews { ask(node, insists: true) }
    }
}
