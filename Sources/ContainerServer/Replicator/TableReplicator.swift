package import Daemon
import DeviceLog
package import Logging
package import NIOCore
import NIOPosix
package import Ring
package import StorageWire
import Synchronization

/// A comparison of the tables of one device with those of another. Bound to the replicator's event loop.
private final class TablePair: @unchecked Sendable {
    let own: UInt16
    let other: UInt16
    let kind: StorageWire.TableKind
    let log: DeviceLog
    let node: any StorageNode
    private let ring: Ring
    /// Partitions in which the own device is behind.
    private let behind: [UInt32: UInt16?]
    /// Whether only those partitions are compared in which the own device took the other's place.
    let isSuccession: Bool
    private var unsettled: Set<UInt32> = []
    var differing: Int64 = 0
    /// Whether all tables were compared.
    var isComplete = true

    init(
        own: UInt16, other: UInt16, kind: StorageWire.TableKind, ring: Ring, log: DeviceLog, node: any StorageNode,
        behind: [UInt32: UInt16?], isSuccession: Bool
    ) {
        self.own = own
        self.other = other
        self.kind = kind
        self.ring = ring
        self.log = log
        self.node = node
        self.behind = behind
        self.isSuccession = isSuccession
    }

    func table(_ hash: PathHash) -> TableAddress { TableAddress(device: own, kind: kind, hash: hash) }

    func shares(_ hash: PathHash) -> Bool {
        if isSuccession { return isSource(of: partition(hash)) }
        let primaries = ring.primaries(of: hash)
        return primaries.contains(Int(own)) && primaries.contains(Int(other))
    }

    func isBehind(_ hash: PathHash) -> Bool { behind[partition(hash)] != nil }

    /// Whether the own device took the other's place there: then the other has what it would have.
    private func isSource(of partition: UInt32) -> Bool { behind[partition] == .some(.some(other)) }

    /// Of a succession, partitions in which it did: as many as one question can name, the others come with a later pass.
    private(set) lazy var inherited: [UInt32] =
        isSuccession
        ? Array(behind.keys.filter { isSource(of: $0) }.sorted().prefix(DigestQuery.maximumPartitions)) : []

    private func partition(_ hash: PathHash) -> UInt32 { UInt32(ring.partition(of: hash)) }
    func unsettle(_ hash: PathHash) { unsettled.insert(partition(hash)) }

    /// Whether all tables were compared, and those that were to be merged are.
    var isFinished: Bool { isComplete && unsettled.isEmpty }

    /// Of the partitions in which the own device is behind, those that it has nothing to learn of from the other any more.
    var settled: [UInt32] {
        guard isComplete else { return [] }
        if isSuccession { return inherited.filter { !unsettled.contains($0) } }
        return behind.keys.filter { partition in
            !unsettled.contains(partition) && ring.primaries(of: Int(partition)).contains(Int(other))
        }
    }
}

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

    /// What is left to do for one device.
    package struct Remainder: Equatable, Sendable {
        /// Tables that do not belong on the device and that not all their primaries have, as the last pass knows them.
        package var misplacedTables: Int64 = 0
        /// The version of the rings for which the last pass has left nothing to do; nil when something was left.
        package var settledVersion: UInt64?
    }

    private struct Place: Hashable {
        var table: TableAddress
        var other: UInt16
    }

    private let server: ContainerServer
    private let nodes: any NodeDirectory
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let rings: @Sendable () -> [StorageWire.TableKind: Ring]
    private let ringsVersion: @Sendable () -> UInt64
    private let now: @Sendable () -> Timestamp
    /// Tables that are merged.
    package let control = WorkerControl(name: "table-replicator", unit: .objects)
    private let passes: PassSchedule
    private var current = Figures()
    private let shared = Mutex(Figures())
    private let remainders = Mutex<[UInt16: Remainder]>([:])
    /// Devices for which the pass under way has left something.
    private var unfinished: Set<UInt16> = []
    /// Of the pass under way.
    private var misplaced: [UInt16: Int64] = [:]
    /// How often a table was left alone because it is being written.
    private var leftAlone: [Place: Int] = [:]
    /// State of a misplaced table when a primary had last taken it.
    private var given: [Place: TableSummary] = [:]

    /// A table that was written so lately differs because writes are under way more often than not.
    private static let settling = UInt64(5 * 100_000)
    private static let mostLeftAlone = 4
    private static let timeout = TimeAmount.seconds(30)

    /// - Parameters:
    ///   - ringsVersion: never newer than what `rings` answers next.
    ///   - rings: the rings of today; asked at the beginning of each pass.
    ///   - now: the clock that timestamps are from.
    ///   - interval: from the end of a pass to the next one.
    package init(
        server: ContainerServer, nodes: any NodeDirectory, eventLoop: any EventLoop, logger: Logger,
        interval: TimeAmount = .seconds(30), now: @escaping @Sendable () -> Timestamp,
        ringsVersion: @escaping @Sendable () -> UInt64 = { 0 },
        rings: @escaping @Sendable () -> [StorageWire.TableKind: Ring]
    ) {
        self.server = server
        self.nodes = nodes
        self.eventLoop = eventLoop
        self.logger = logger
        passes = PassSchedule(on: eventLoop, interval: interval)
        self.rings = rings
        self.ringsVersion = ringsVersion
        self.now = now
    }

    package var figures: Figures { shared.withLock { $0 } }

    /// What is left to do for a device; one that no pass has seen is not settled.
    package func remainder(of device: UInt16) -> Remainder { remainders.withLock { $0[device] } ?? Remainder() }

    /// - Parameter delay: until the first pass begins.
    package func start(after delay: TimeAmount = .seconds(2)) {
        eventLoop.execute { [self] in
            server.replicator.withLock { $0 = self }
            passes.start(after: delay) { [self] in pass() }
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            control.stop()
            passes.stop()
            server.replicator.withLock { $0 = nil }
        }
    }

    /// Has a pass made now, or once more after the one under way; done at its end.
    @discardableResult
    package func runPass() -> EventLoopFuture<Void> { passes.run() }

    // MARK: Passes

    private func pass() -> EventLoopFuture<Void> {
        current.differingTables = 0
        current.isComplete = true
        unfinished = []
        misplaced = [:]
        control.beginPass(total: nil)
        let version = ringsVersion()
        let rings = rings()
        let devices = server.devices.keys.sorted()
        let work = devices.flatMap { device in
            [StorageWire.TableKind.account, StorageWire.TableKind.container].map { (device: device, kind: $0) }
        }
        return BoundedTasks.run(work.count, width: 1, on: eventLoop) { [self] index in
            let (device, kind) = work[index]
            guard let ring = rings[kind], let log = server.devices[device], !passes.isStopped else {
                unfinished.insert(device)
                return eventLoop.makeSucceededVoidFuture()
            }
            return compare(device, log, kind, ring).flatMap { [self] in giveAway(device, log, kind, ring) }
        }.map { [self] in
            current.passes += 1
            noteEnd(of: devices, version)
            control.endPass()
            publish()
        }
    }

    private func noteEnd(of devices: [UInt16], _ version: UInt64) {
        let remainders = devices.map { device in
            Remainder(
                misplacedTables: misplaced[device] ?? 0,
                settledVersion: unfinished.contains(device) || misplaced[device] ?? 0 > 0 ? nil : version)
        }
        self.remainders.withLock { $0 = Dictionary(uniqueKeysWithValues: zip(devices, remainders)) }
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
        let behind = log.behind(kind.space)
        let replicas = Int(ring.replicaCount.rounded(.up))
        // With the word of so many every acknowledged row is known, since each is on a majority.
        let needed = replicas - replicas / 2
        let sources = Set(behind.values.compactMap { $0 }).sorted()
        let peers = peers.map { (device: $0, isSource: false) } + sources.map { (device: $0, isSource: true) }
        /// How many others each of those partitions has nothing to learn from any more.
        var agreed: [UInt32: Int] = [:]
        return BoundedTasks.run(peers.count, width: 1, on: eventLoop) { [self] in
            let (other, isSource) = peers[$0]
            guard let node = nodes.node(ofDevice: other) else {
                current.isComplete = false
                unfinished.insert(device)
                return eventLoop.makeSucceededVoidFuture()
            }
            let pair = TablePair(
                own: device, other: other, kind: kind, ring: ring, log: log, node: node, behind: behind,
                isSuccession: isSource)
            return compare(pair, in: .all).assumeIsolated().map { [self] in
                if !pair.isComplete || pair.differing > 0 { current.isComplete = false }
                if !pair.isFinished { unfinished.insert(device) }
                current.differingTables += pair.differing
                for partition in pair.settled {
                    let source = behind[partition] ?? nil
                    if isSource {
                        // It has what the device would have, and takes no more.
                        agreed[partition, default: 0] += needed
                    } else if source.map({ nodes.node(ofDevice: $0) == nil }) ?? true {
                        // There is none, so that nobody can write to it by an older ring.
                        agreed[partition, default: 0] += 1
                    }
                }
            }.nonisolated()
        }.assumeIsolated().flatMap { [self] in
            let caughtUp = Set(agreed.filter { $0.value >= needed }.keys)
            return server.workers.runIfActive(eventLoop: eventLoop) { try log.caughtUp(kind.space, caughtUp) }
                .flatMapErrorThrowing { [logger] error in
                    logger.error("A device cannot note that it caught up", metadata: ["error": "\(error)"])
                }
        }.nonisolated()
    }

    private func compare(_ pair: TablePair, in range: HashRange) -> EventLoopFuture<Void> {
        let query = TableQuery(
            device: pair.other, kind: pair.kind, range: range,
            mustBeForeign: pair.inherited)
        return pair.node.ask(.replication(.tables(query)), within: Self.timeout, on: eventLoop).flatMap {
            [self] reply in
            guard case .replication(.tables(let page)) = reply else {
                pair.isComplete = false
                return eventLoop.makeSucceededVoidFuture()
            }
            let last = page.isWhole ? range.last : page.tables.last?.hash ?? range.last
            let covered = HashRange(first: range.first, last: last)
            let own = TableQuery(device: pair.own, kind: pair.kind, range: covered, limit: .max)
            return server.workers.runIfActive(eventLoop: eventLoop) { [log = pair.log] in try log.summaries(own) }
                .flatMap { [self] own in merge(page.tables.filter { pair.shares($0.hash) }, over: own.tables, pair) }
                .flatMapError { [self] _ in
                    pair.isComplete = false
                    return eventLoop.makeSucceededVoidFuture()
                }.flatMap { [self] in
                    guard !page.isWhole, last < range.last, let next = last.successor else {
                        return eventLoop.makeSucceededVoidFuture()
                    }
                    return compare(pair, in: HashRange(first: next, last: range.last))
                }
        }
    }

    private func merge(
        _ theirs: [TableSummary], over own: [TableSummary], _ pair: TablePair
    ) -> EventLoopFuture<Void> {
        let known = Dictionary(own.map { ($0.hash, $0) }) { first, _ in first }
        let wanted = theirs.filter { table in
            let mine = known[table.hash]
            let place = Place(table: pair.table(table.hash), other: pair.other)
            guard mine?.rows != table.rows || mine?.head != table.head else {
                leftAlone[place] = nil
                return false
            }
            pair.differing += 1
            // Who is behind waits for nothing, and neither does who has nothing.
            if mine == nil || pair.isBehind(table.hash) { return true }
            return isDue(place, lastChange: max(mine?.lastChange ?? .never, table.lastChange))
        }
        return BoundedTasks.run(wanted.count, width: 4, on: eventLoop, pause: control.timeToNextStep) { [self] index in
            _ = control.step(1)
            let hash = wanted[index].hash
            return fetch(pair.table(hash), from: pair.other, log: pair.log, on: pair.node).map { isWhole in
                if !isWhole { pair.unsettle(hash) }
            }
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
            if !isWhole {
                current.failedMerges += 1
                control.note(error: "a table could not be merged from device \(other)")
            }
            return isWhole
        }
    }

    // MARK: What does not belong here

    private func giveAway(
        _ device: UInt16, _ log: DeviceLog, _ kind: StorageWire.TableKind, _ ring: Ring
    ) -> EventLoopFuture<Void> {
        let query = TableQuery(device: device, kind: kind, range: .all, limit: .max)
        return server.workers.runIfActive(eventLoop: eventLoop) {
            try log.summaries(query).tables.filter { !ring.primaries(of: $0.hash).contains(Int(device)) }
        }.flatMap { [self] tables in
            let work = tables.flatMap { table in ring.primaries(of: table.hash).deviceIDs.map { (table, $0) } }
            return BoundedTasks.run(work.count, width: 4, on: eventLoop, pause: control.timeToNextStep) { [self] in
                give(work[$0].0, kind, from: device, to: work[$0].1)
            }.map { [self] in
                misplaced[device, default: 0] += Int64(
                    tables.count { table in
                        !ring.primaries(of: table.hash).deviceIDs.allSatisfy { isGiven(table, kind, device, to: $0) }
                    })
            }
        }.flatMapError { [self] _ in
            current.isComplete = false
            unfinished.insert(device)
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    private func isGiven(
        _ table: TableSummary, _ kind: StorageWire.TableKind, _ device: UInt16, to primary: UInt16
    ) -> Bool {
        given[Place(table: TableAddress(device: device, kind: kind, hash: table.hash), other: primary)] == table
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
