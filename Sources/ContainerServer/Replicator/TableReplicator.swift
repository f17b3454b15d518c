import DeviceLog
package import Logging
package import NIOCore
import NIOPosix
package import Ring
package import StorageWire
import Synchronization

/// Keeps the containers and accounts on the devices of this node as their other replicas have them.
///
/// Each pass compares the tables of every device with those of the other primaries and merges what is newer there; tables that do not belong
/// here are merged into those that do.
package final class TableReplicator: @unchecked Sendable {
    // Unchecked: everything but the figures happens on `eventLoop`.

    /// What it has done since the start, and found in its last pass.
    package struct Figures: Equatable, Sendable {
        package var passes: Int64 = 0
        package var mergedTables: Int64 = 0
        package var mergedRows: Int64 = 0
        package var failedMerges: Int64 = 0
        /// Of the last pass.
        package var differingTables: Int64 = 0
        /// Whether the last pass reached every replica and left no difference.
        package var isComplete = false

        package init() {}
    }

    private struct Place: Hashable {
        var table: TableAddress
        var other: UInt16
    }

    private let server: ContainerServer
    private let nodes: any NodeDirectory
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let interval: TimeAmount
    private let rings: @Sendable () -> [StorageWire.TableKind: Ring]
    private let now: @Sendable () -> Timestamp
    private var scheduled: Scheduled<Void>?
    private var isRunning = false
    private var isWantedAgain = false
    private var isStopped = false
    private var waiting: [EventLoopPromise<Void>] = []
    private var current = Figures()
    private let shared = Mutex(Figures())
    /// How often a table was left alone because it is being written.
    private var leftAlone: [Place: Int] = [:]
    /// State of a misplaced table when a primary had last taken it.
    private var given: [Place: TableSummary] = [:]

    /// A table that was written so lately differs because writes are under way more often than not.
    private static let settling = UInt64(5 * 100_000)
    private static let mostLeftAlone = 4
    private static let timeout = TimeAmount.seconds(30)

    /// - Parameters:
    ///   - rings: the rings of today; asked at the beginning of each pass.
    ///   - now: the clock that timestamps are from.
    ///   - interval: from the end of a pass to the next one.
    package init(
        server: ContainerServer, nodes: any NodeDirectory, eventLoop: any EventLoop, logger: Logger,
        interval: TimeAmount = .seconds(30), now: @escaping @Sendable () -> Timestamp,
        rings: @escaping @Sendable () -> [StorageWire.TableKind: Ring]
    ) {
        self.server = server
        self.nodes = nodes
        self.eventLoop = eventLoop
        self.logger = logger
        self.interval = interval
        self.rings = rings
        self.now = now
    }

    package var figures: Figures { shared.withLock { $0 } }

    /// The first pass begins after a moment.
    package func start() {
        eventLoop.execute { [self] in
            server.replicator.withLock { $0 = self }
            schedule(in: .seconds(2))
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            isStopped = true
            scheduled?.cancel()
            scheduled = nil
            server.replicator.withLock { $0 = nil }
        }
    }

    /// Runs a pass now, or once more after the one under way; done at its end.
    @discardableResult
    package func runPass() -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [self] in
            waiting.append(promise)
            if isRunning { isWantedAgain = true } else { begin() }
        }
        return promise.futureResult
    }

    // MARK: Passes

    private func schedule(in delay: TimeAmount) {
        guard !isStopped else { return }
        scheduled?.cancel()
        scheduled = eventLoop.scheduleTask(in: delay) { [self] in if !isRunning { begin() } }
    }

    private func begin() {
        scheduled?.cancel()
        scheduled = nil
        isRunning = true
        let promises = waiting
        waiting = []
        current.differingTables = 0
        current.isComplete = true
        let rings = rings()
        let work = server.devices.keys.sorted().flatMap { device in
            [StorageWire.TableKind.account, StorageWire.TableKind.container].map { (device: device, kind: $0) }
        }
        BoundedTasks.run(work.count, width: 1, on: eventLoop) { [self] index in
            let (device, kind) = work[index]
            guard let ring = rings[kind], let log = server.devices[device], !isStopped else {
                return eventLoop.makeSucceededVoidFuture()
            }
            return compare(device, log, kind, ring).flatMap { [self] in giveAway(device, log, kind, ring) }
        }.whenComplete { [self] _ in
            isRunning = false
            current.passes += 1
            publish()
            for promise in promises { promise.succeed() }
            schedule(in: isWantedAgain ? .zero : interval)
            isWantedAgain = false
        }
    }

    private func publish() {
        let figures = current
        shared.withLock { $0 = figures }
    }

    // MARK: The other primaries

    private func compare(
        _ device: UInt16, _ log: DeviceLog, _ kind: StorageWire.TableKind, _ ring: Ring
    ) -> EventLoopFuture<Void> {
        server.workers.runIfActive(eventLoop: eventLoop) { ring.peers(of: device) }.flatMap { [self] peers in
            compare(device, log, kind, ring, with: peers)
        }
    }

    private func compare(
        _ device: UInt16, _ log: DeviceLog, _ kind: StorageWire.TableKind, _ ring: Ring, with peers: [UInt16]
    ) -> EventLoopFuture<Void> {
        BoundedTasks.run(peers.count, width: 1, on: eventLoop) { [self] in
            guard let node = nodes.node(ofDevice: peers[$0]) else {
                current.isComplete = false
                return eventLoop.makeSucceededVoidFuture()
            }
            let all = HashRange(partition: 0, partPower: 0)
            return compare(device, log, kind, ring, with: peers[$0], on: node, in: all)
        }
    }

    private func compare(
        _ device: UInt16, _ log: DeviceLog, _ kind: StorageWire.TableKind, _ ring: Ring, with other: UInt16,
        on node: any StorageNode, in range: HashRange
    ) -> EventLoopFuture<Void> {
        let query = TableQuery(device: other, kind: kind, range: range)
        return node.ask(.replication(.tables(query)), within: Self.timeout, on: eventLoop).flatMap { [self] reply in
            guard case .replication(.tables(let page)) = reply else {
                current.isComplete = false
                return eventLoop.makeSucceededVoidFuture()
            }
            let last = page.isWhole ? range.last : page.tables.last?.hash ?? range.last
            let covered = HashRange(first: range.first, last: last)
            let own = TableQuery(device: device, kind: kind, range: covered, limit: .max)
            return server.workers.runIfActive(eventLoop: eventLoop) { try log.summaries(own) }
                .flatMap { [self] own in
                    let shared = page.tables.filter { table in
                        let primaries = ring.primaries(of: table.hash)
                        return primaries.contains(Int(device)) && primaries.contains(Int(other))
                    }
                    return merge(shared, over: own.tables, device, log, kind, from: other, on: node)
                }.flatMapError { [self] _ in
                    current.isComplete = false
                    return eventLoop.makeSucceededVoidFuture()
                }.flatMap { [self] in
                    guard !page.isWhole, last < range.last, let next = last.successor else {
                        return eventLoop.makeSucceededVoidFuture()
                    }
                    let rest = HashRange(first: next, last: range.last)
                    return compare(device, log, kind, ring, with: other, on: node, in: rest)
                }
        }
    }

    private func merge(
        _ theirs: [TableSummary], over own: [TableSummary], _ device: UInt16, _ log: DeviceLog,
        _ kind: StorageWire.TableKind,
        from other: UInt16, on node: any StorageNode
    ) -> EventLoopFuture<Void> {
        let known = Dictionary(own.map { ($0.hash, $0) }) { first, _ in first }
        let wanted = theirs.filter { table in
            let place = Place(table: TableAddress(device: device, kind: kind, hash: table.hash), other: other)
            guard let mine = known[table.hash] else { return true }
            guard mine.rows != table.rows || mine.head != table.head else {
                leftAlone[place] = nil
                return false
            }
            current.differingTables += 1
            current.isComplete = false
            return isDue(place, lastChange: max(mine.lastChange, table.lastChange))
        }
        return BoundedTasks.run(wanted.count, width: 4, on: eventLoop) { [self] in
            let table = TableAddress(device: device, kind: kind, hash: wanted[$0].hash)
            return fetch(table, from: other, log: log, on: node).map { _ in }
        }
    }

    private func isDue(_ place: Place, lastChange: Timestamp) -> Bool {
        let isYoung = lastChange.ticks + Self.settling > now().ticks
        guard isYoung, leftAlone[place] ?? 0 < Self.mostLeftAlone else {
            leftAlone[place] = nil
            return true
        }
        leftAlone[place, default: 0] += 1
        return false
    }

    private func fetch(
        _ table: TableAddress, from other: UInt16, log: DeviceLog, on node: any StorageNode
    ) -> EventLoopFuture<Bool> {
        let fetch = TableFetch(own: table, other: other, log: log, node: node, server: server, on: eventLoop)
        return fetch.run().map { [self] isWhole in
            current.mergedTables += 1
            current.mergedRows += Int64(fetch.rows)
            if !isWhole { current.failedMerges += 1 }
            return isWhole
        }
    }

    // MARK: What does not belong here

    private func giveAway(
        _ device: UInt16, _ log: DeviceLog, _ kind: StorageWire.TableKind, _ ring: Ring
    ) -> EventLoopFuture<Void> {
        let query = TableQuery(device: device, kind: kind, range: HashRange(partition: 0, partPower: 0), limit: .max)
        return server.workers.runIfActive(eventLoop: eventLoop) {
            try log.summaries(query).tables.filter { !ring.primaries(of: $0.hash).contains(Int(device)) }
        }.flatMap { [self] tables in
            let work = tables.flatMap { table in ring.primaries(of: table.hash).deviceIDs.map { (table, $0) } }
            return BoundedTasks.run(work.count, width: 4, on: eventLoop) { [self] in
                give(work[$0].0, kind, from: device, to: work[$0].1)
            }
        }.flatMapError { [self] _ in
            current.isComplete = false
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    private func give(
        _ table: TableSummary, _ kind: StorageWire.TableKind, from device: UInt16, to primary: UInt16
    ) -> EventLoopFuture<Void> {
        let place = Place(table: TableAddress(device: device, kind: kind, hash: table.hash), other: primary)
        guard given[place] != table else { return eventLoop.makeSucceededVoidFuture() }
        guard let node = nodes.node(ofDevice: primary) else {
            current.isComplete = false
            return eventLoop.makeSucceededVoidFuture()
        }
        let fetch = FetchTables(device: primary, source: device, kind: kind, hashes: [table.hash])
        return node.ask(.replication(.fetchTables(fetch)), within: Self.timeout, on: eventLoop).map { [self] reply in
            if case .replication(.fetched([true])) = reply { given[place] = table } else { current.isComplete = false }
        }
    }

    /// Merges tables of another device into those of one here because that asks for it.
    func fetch(_ request: FetchTables, call: ServerCall) {
        eventLoop.execute { [self] in
            guard let log = server.devices[request.device], let node = nodes.node(ofDevice: request.source) else {
                let failure = StorageFailure(.noDevice, "device \(request.device) or \(request.source) is not known")
                return call.eventLoop.execute { call.reply(.failed(failure)) }
            }
            let fetches = request.hashes.map { hash in
                fetch(
                    TableAddress(device: request.device, kind: request.kind, hash: hash), from: request.source,
                    log: log, on: node)
            }
            EventLoopFuture.whenAllSucceed(fetches, on: eventLoop).whenComplete { result in
                let flags = (try? result.get()) ?? []
                call.eventLoop.execute { call.reply(.replication(.fetched(flags))) }
            }
        }
    }
}

extension Ring {
    /// The devices that share a partition with one, in ascending order. A walk over the whole ring.
    fileprivate func peers(of device: UInt16) -> [UInt16] {
        var peers: Set<UInt16> = []
        for partition in 0..<partitionCount {
            let primaries = primaries(of: partition).deviceIDs
            if primaries.contains(device) { peers.formUnion(primaries) }
        }
        peers.remove(device)
        return peers.sorted()
    }
}

extension ContainerServer {
    func fetchTables(_ fetch: FetchTables, call: ServerCall) {
        guard let replicator = replicator.withLock({ $0 }) else {
            return call.reply(.failed(StorageFailure(.closing, "no replicator is running")))
        }
        replicator.fetch(fetch, call: call)
    }
}
