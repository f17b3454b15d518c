package import Daemon
package import DeviceLog
package import Logging
package import NIOCore
import NIOPosix
package import Ring
package import StorageWire
import Synchronization

/// Keeps the objects on the devices of this node as their other replicas have them.
///
/// Each pass compares every device with the other primaries of its partitions, fetches what is newer there, and gives away what does not
/// belong here. What is newer here the others fetch: every node does the same.
package final class ObjectReplicator: @unchecked Sendable {
    // Unchecked: everything but the figures happens on `eventLoop`.

    /// What it has done since the start, and found in its last pass.
    package struct Figures: Equatable, Sendable {
        package var passes: Int64 = 0
        package var fetchedObjects: Int64 = 0
        package var fetchedBytes: Int64 = 0
        package var failedFetches: Int64 = 0
        package var evictedObjects: Int64 = 0
        /// Tombstones that this node had all replicas give up, counted on each.
        package var reclaimedTombstones: Int64 = 0
        /// Of the last pass.
        package var differingPartitions: Int64 = 0
        /// Objects here that their primaries have not all taken yet, in the last pass.
        package var misplacedObjects: Int64 = 0
        /// Whether the last pass reached every replica and left no difference.
        package var isComplete = false

        package init() {}
    }

    /// What is left to do for one device.
    package struct Remainder: Equatable, Sendable {
        /// Objects that do not belong on the device and are still there, as the pass under way or the last one knows them; tombstones too.
        package var misplacedObjects: Int64 = 0
        /// Their bytes, as `DeviceLog.amount` counts them.
        package var misplacedBytes: Int64 = 0
        /// The version of the rings for which the last pass has left nothing to do; nil when something was left.
        package var settledVersion: UInt64?
    }

    /// Objects that are fetched together while clients are at work.
    private static let smallBatch = 32

    private let server: ObjectServer
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let rings: @Sendable () -> [UInt8: Ring]
    private let ringsVersion: @Sendable () -> UInt64
    let fetcher: ObjectFetcher
    /// Objects that are fetched, and objects that are given away.
    package let control = WorkerControl(name: "object-replicator", unit: .objects)
    private let passes: PassSchedule
    private let reclaim: TombstoneReclaim
    private var clients = ClientWatch()
    private var current = Figures()
    private let shared = Mutex(Figures())
    private let remainders = Mutex<[UInt16: Remainder]>([:])
    /// The last passes that left nothing to do for a device: the version of the rings, and when they began.
    private let settled = Mutex<[UInt16: (version: UInt64, began: NIODeadline)]>([:])
    /// Devices for which the pass under way has left something.
    private var unfinished: Set<UInt16> = []

    /// - Parameters:
    ///   - ringsVersion: never newer than what `rings` answers next.
    ///   - rings: the object rings of today by their policies; asked at the beginning of each pass.
    ///   - interval: from the end of a pass to the next one.
    ///   - reclaimAfter: how old tombstones are, at least, when they are given up.
    ///   - now: the clock that timestamps are from.
    package init(
        server: ObjectServer, eventLoop: any EventLoop, logger: Logger, interval: TimeAmount = .seconds(30),
        reclaimAfter: TimeAmount = .hours(1), now: @escaping @Sendable () -> Timestamp,
        ringsVersion: @escaping @Sendable () -> UInt64 = { 0 }, rings: @escaping @Sendable () -> [UInt8: Ring]
    ) {
        self.server = server
        self.eventLoop = eventLoop
        self.logger = logger
        passes = PassSchedule(on: eventLoop, interval: interval)
        self.rings = rings
        self.ringsVersion = ringsVersion
        fetcher = ObjectFetcher(server, on: eventLoop)
        reclaim = TombstoneReclaim(server, settling: reclaimAfter, now: now, on: eventLoop)
    }

    package var figures: Figures { shared.withLock { $0 } }

    /// What is left to do for a device; one that no pass has seen is not settled.
    package func remainder(of device: UInt16) -> Remainder { remainders.withLock { $0[device] } ?? Remainder() }

    /// - Parameter delay: until the first pass begins.
    package func start(after delay: TimeAmount = .seconds(2)) {
        eventLoop.execute { [self] in
            watchForDamage()
            server.fetchers.withLock {
                $0 = FetchDesk(eventLoop: eventLoop, fetcher: fetcher, rings: rings) { [weak self] in
                    self?.settledPasses() ?? []
                }
            }
            passes.start(after: delay) { [self] in pass() }
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            control.stop()
            passes.stop()
            server.fetchers.withLock { $0 = nil }
        }
    }

    /// Has a pass made now, or once more after the one under way; done at its end.
    @discardableResult
    package func runPass() -> EventLoopFuture<Void> { passes.run() }

    // MARK: Passes

    private func pass() -> EventLoopFuture<Void> {
        watchForDamage()
        current.differingPartitions = 0
        current.misplacedObjects = 0
        current.isComplete = true
        unfinished = []
        control.beginPass(total: nil)
        let began = eventLoop.now
        let version = ringsVersion()
        let rings = rings()
        let devices = server.devices.keys.sorted()
        let work = devices.flatMap { device in
            rings.keys.sorted().map { (device: device, policy: $0) }
        }
        return BoundedTasks.run(work.count, width: 1, on: eventLoop) { [self] index in
            let (device, policy) = work[index]
            guard let ring = rings[policy], let log = server.devices[device], !passes.isStopped else {
                unfinished.insert(device)
                return eventLoop.makeSucceededVoidFuture()
            }
            return compare(device, log, policy, ring).flatMap { [self] alike in
                giveAway(device, log, policy, ring).flatMap { [self] in
                    guard reclaim.isDue(device, log, policy: policy) else { return eventLoop.makeSucceededVoidFuture() }
                    return reclaim.run(
                        device, log, policy: policy, ring, ringsVersion: version,
                        partitions: ring.firstPlaces(of: device, in: alike))
                }
            }
        }.map { [self] in
            current.passes += 1
            noteEnd(of: devices, version, began)
            control.endPass()
            publish()
        }
    }

    /// Again with each pass, since devices come while the node runs.
    private func watchForDamage() {
        for (device, log) in server.devices {
            log.whenDamaged { [weak self] key in self?.repair(key, on: device) }
        }
    }

    private func noteEnd(of devices: [UInt16], _ version: UInt64, _ began: NIODeadline) {
        remainders.withLock { remainders in
            remainders = remainders.filter { devices.contains($0.key) }
            for device in devices {
                remainders[device, default: Remainder()].settledVersion =
                    unfinished.contains(device) ? nil : version
            }
        }
        settled.withLock { settled in
            let done = devices.filter { !unfinished.contains($0) }
            settled = Dictionary(uniqueKeysWithValues: done.map { ($0, (version, began)) })
        }
    }

    /// From any thread.
    private func settledPasses() -> [SettledPass] {
        let now = NIODeadline.now()
        return settled.withLock { settled in
            settled.map { device, pass in
                let age = UInt64(max(0, (now - pass.began).nanoseconds) / 1_000_000)
                return SettledPass(device: device, ringsVersion: pass.version, age: age)
            }
        }
    }

    private func publish() {
        current.fetchedObjects = fetcher.objects
        current.fetchedBytes = fetcher.bytes
        current.reclaimedTombstones = reclaim.reclaimed
        let figures = current
        shared.withLock { $0 = figures }
    }

    /// How many of its other primaries have the same as the device, for each partition.
    private func compare(
        _ device: UInt16, _ log: DeviceLog, _ policy: UInt8, _ ring: Ring
    ) -> EventLoopFuture<[UInt32: Int]> {
        let behind = log.behind(.objects(policy))
        return server.workers.runIfActive(eventLoop: eventLoop) {
            // And with those whose place the device took, other partitions of which it may share.
            var left: [UInt16: [UInt32]] = [:]
            for case (let partition, let source?) in behind { left[source, default: []].append(partition) }
            return ring.sharedPartitions(of: device).sorted { $0.key < $1.key }
                + left.mapValues { $0.sorted() }.sorted { $0.key < $1.key }
        }.flatMap { [self] peers in
            control.note(activity: "compares device \(device) with \(peers.count) others")
            return compare(device, log, policy, ring, peers, behind)
        }
    }

    private func compare(
        _ device: UInt16, _ log: DeviceLog, _ policy: UInt8, _ ring: Ring,
        _ peers: [(key: UInt16, value: [UInt32])], _ behind: [UInt32: UInt16?]
    ) -> EventLoopFuture<[UInt32: Int]> {
        let needed = ObjectServer.othersNeeded(replicas: Int(ring.replicaCount.rounded(.up)))
        /// How many others each of those partitions has nothing to learn from any more.
        var agreed: [UInt32: Int] = [:]
        var alike: [UInt32: Int] = [:]
        return BoundedTasks.run(peers.count, width: 1, on: eventLoop) { [self] index in
            let (other, shared) = peers[index]
            // A primary shares no partition with a device whose place it took in it.
            let isSuccessor = shared.allSatisfy { behind[$0] == .some(.some(other)) }
            guard let node = server.nodes.node(ofDevice: other) else {
                current.isComplete = false
                unfinished.insert(device)
                return eventLoop.makeSucceededVoidFuture()
            }
            let comparison = PairComparison(
                own: device, other: other, policy: policy, partPower: ring.partPower, isSuccessor: isSuccessor,
                log: log, node: node, workers: server.workers, on: eventLoop
            ) { [self] versions in fetch(versions, policy, to: device, from: other) }
            return comparison.run(shared).assumeIsolated().map { [self] in
                for partition in shared where !comparison.unsettled.contains(partition) {
                    guard let source = behind[partition] else { continue }
                    if source == other {
                        // It has what the device would have, and takes no more.
                        agreed[partition, default: 0] += needed
                    } else if source.map({ server.nodes.node(ofDevice: $0) == nil }) ?? true {
                        // There is none, so that nobody can write to it by an older ring.
                        agreed[partition, default: 0] += 1
                    }
                }
                if !isSuccessor { for partition in comparison.alike { alike[partition, default: 0] += 1 } }
                current.differingPartitions += Int64(comparison.differingPartitions)
                if !comparison.unsettled.isEmpty { unfinished.insert(device) }
                if !comparison.unsettled.isEmpty || comparison.differingPartitions > 0 { current.isComplete = false }
                publish()
            }.nonisolated()
        }.assumeIsolated().flatMap { [self] in
            let caughtUp = Set(agreed.filter { $0.value >= needed }.keys)
            let found = alike
            return server.workers.runIfActive(eventLoop: eventLoop) {
                try log.caughtUp(.objects(policy), caughtUp)
            }.flatMapErrorThrowing { [logger] error in
                logger.error("A device cannot note that it caught up", metadata: ["error": "\(error)"])
            }.map { found }
        }.nonisolated()
    }

    private func watchClients() -> ClientWatch {
        clients.note(requests: server.clientRequests.load(ordering: .relaxed), now: eventLoop.now)
        return clients
    }

    /// What of it could not be brought.
    private func fetch(
        _ versions: [ReplicaVersion], _ policy: UInt8, to device: UInt16, from source: UInt16
    ) -> EventLoopFuture<[PathHash]> {
        var missing: [PathHash] = []
        let isBusy = watchClients().isBusy
        let batches = versions.parts(of: isBusy ? Self.smallBatch : ObjectsQuery.maximumHashes)
        return BoundedTasks.run(
            batches.count, width: isBusy ? 1 : 2, on: eventLoop,
            pause: { [self] in control.timeToNextStep() ?? watchClients().rest(now: eventLoop.now) }
        ) { [self] index in
            let batch = batches[index]
            _ = control.step(Int64(batch.count))
            let begin = eventLoop.now
            return fetcher.fetch(batch, policy: policy, to: device, from: source).assumeIsolated().map {
                [self] outcomes in
                clients.noteStep(from: begin, to: eventLoop.now)
                for (version, outcome) in zip(batch, outcomes) {
                    guard case .failed(let failure) = outcome else { continue }
                    missing.append(version.hash)
                    control.note(error: "from device \(source): \(failure.reason) \(failure.detail)")
                }
            }.nonisolated()
        }.assumeIsolated().map { [self] in
            current.failedFetches += Int64(missing.count)
            return missing
        }.nonisolated()
    }

    private func giveAway(
        _ device: UInt16, _ log: DeviceLog, _ policy: UInt8, _ ring: Ring
    ) -> EventLoopFuture<Void> {
        control.note(activity: "gives away what does not belong on device \(device)")
        let misplaced = MisplacedObjects(
            device: device, policy: policy, ring: ring, log: log, server: server, control: control, on: eventLoop
        ) { [self] misplaced in
            remainders.withLock {
                $0[device, default: Remainder()].misplacedObjects = misplaced.left
                $0[device, default: Remainder()].misplacedBytes = misplaced.leftBytes
            }
        }
        return misplaced.run().map { [self] in
            current.evictedObjects += Int64(misplaced.evicted)
            current.misplacedObjects += misplaced.left
            if misplaced.left > 0 || !misplaced.isComplete {
                current.isComplete = false
                unfinished.insert(device)
            }
            publish()
        }
    }

    // MARK: Damage

    /// Brings a damaged object from another replica. From any thread.
    package func repair(_ key: ObjectKey, on device: UInt16) {
        // The note of the damage is on its way to the log.
        eventLoop.scheduleTask(in: .milliseconds(100)) { [self] in
            guard !passes.isStopped, let ring = rings()[key.policy] else { return }
            repair(key, on: device, from: ring.primaries(of: key.hash).deviceIDs.filter { $0 != device }[...])
        }
    }

    private func repair(_ key: ObjectKey, on device: UInt16, from sources: ArraySlice<UInt16>) {
        guard let source = sources.first else {
            return logger.error(
                "A damaged object has no intact replica within reach", metadata: ["hash": "\(key.hash.hex)"])
        }
        let wanted = ReplicaVersion(hash: key.hash, timestamp: .never, kind: .live)
        fetcher.fetch(wanted, policy: key.policy, to: device, from: source).whenSuccess { [self] outcome in
            guard case .stored = outcome, let version = try? server.devices[device]?.version(of: key),
                version.kind != .quarantined
            else { return repair(key, on: device, from: sources.dropFirst()) }
            publish()
            logger.notice(
                "A damaged object was brought from another replica",
                metadata: ["hash": "\(key.hash.hex)", "device": "\(device)", "from": "\(source)"])
        }
    }
}

extension Ring {
    /// The partitions of which a device is a primary, by each other primary. A walk over the whole ring.
    fileprivate func sharedPartitions(of device: UInt16) -> [UInt16: [UInt32]] {
        var partitions: [UInt16: [UInt32]] = [:]
        for partition in 0..<partitionCount {
            let primaries = primaries(of: partition)
            guard primaries.contains(Int(device)) else { continue }
            for other in primaries where other != Int(device) {
                partitions[UInt16(truncatingIfNeeded: other), default: []].append(UInt32(partition))
            }
        }
        return partitions
    }

    /// The partitions of which a device is the first primary and that are alike on as many others as there are, in ascending order.
    fileprivate func firstPlaces(of device: UInt16, in alike: [UInt32: Int]) -> [UInt32] {
        alike.filter { partition, others in
            let primaries = primaries(of: Int(partition)).deviceIDs
            return primaries.first == device && others == primaries.count - 1
        }.keys.sorted()
    }
}

/// Where requests of other nodes find the fetcher: it is bound to a loop of its own.
struct FetchDesk: Sendable {
    let eventLoop: any EventLoop
    let fetcher: ObjectFetcher
    let rings: @Sendable () -> [UInt8: Ring]
    let settledPasses: @Sendable () -> [SettledPass]
}

extension ObjectServer {
    /// Brings objects of another device to one of this node because that asks for it: it gives away what is not its own.
    func fetch(_ fetch: FetchObjects, call: ServerCall) {
        guard device(fetch.device, call: call) != nil else { return }
        guard let desk = fetchers.withLock({ $0 }) else {
            return call.reply(.failed(StorageFailure(.closing, "no replicator is running")))
        }
        desk.eventLoop.execute {
            let versions = fetch.hashes.map {
                ReplicaVersion(hash: $0, timestamp: Timestamp(rawValue: .max), kind: .live)
            }
            let batches = versions.parts(of: ObjectsQuery.maximumHashes).map {
                desk.fetcher.fetch($0, policy: fetch.policy, to: fetch.device, from: fetch.source)
            }
            EventLoopFuture.whenAllSucceed(batches, on: desk.eventLoop).whenComplete { result in
                let flags = ((try? result.get()) ?? []).joined().map { outcome in
                    if case .stored = outcome { true } else { false }
                }
                call.eventLoop.execute { call.reply(.replication(.fetched(flags))) }
            }
        }
    }
}
