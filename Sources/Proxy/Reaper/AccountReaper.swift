package import Daemon
package import Logging
package import NIOCore
package import NIOPosix
package import Ring
package import StorageWire

/// Removes what is left in accounts that were deleted: objects, then containers; of the account stays that it was deleted.
///
/// Every node looks for such accounts on its devices. The first primary of an account does the work, the next one only if that does not answer. What
/// could not be removed, or was written meanwhile, is left for the next pass. A deletion is just above what was seen, so that it
/// never reaches what is written after the account was made again.
package final class AccountReaper: @unchecked Sendable {
    // Unchecked: everything happens on `eventLoop`.

    let eventLoop: any EventLoop
    private let logger: Logger
    private let interval: TimeAmount
    private let delay: Int64
    private let surroundings: Surroundings
    private let passes: PassSchedule
    private let loop: ProxyLoop
    /// Counts the objects that were removed.
    package let control = WorkerControl(name: "account-reaper", unit: .objects)

    /// What the reaper has to know of its node and of the cluster, as they are now.
    package struct Surroundings: Sendable {
        var devices: @Sendable () -> [UInt16]
        var deleted: @Sendable (UInt16, PathHash) -> EventLoopFuture<(accounts: [TableHead], next: PathHash?)>
        var cluster: @Sendable () -> Cluster

        /// - Parameters:
        ///   - devices: those of this node.
        ///   - deleted: a page of the accounts on a device that are deleted and not empty, from a hash on, and where the next page begins.
        ///   - cluster: the rings of today.
        package init(
            devices: @escaping @Sendable () -> [UInt16],
            deleted:
                @escaping @Sendable (UInt16, PathHash) -> EventLoopFuture<
                    (accounts: [TableHead], next: PathHash?)
                >,
            cluster: @escaping @Sendable () -> Cluster
        ) {
            self.devices = devices
            self.deleted = deleted
            self.cluster = cluster
        }
    }

    /// Rows of a page, of containers and of objects.
    private static let containersPage = 64
    private static let objectsPage = 256
    private static let accountsAtOnce = 2
    private static let containersAtOnce = 4
    /// Of one container.
    private static let objectsAtOnce = 8

    /// - Parameters:
    ///   - interval: from the end of a pass to the next one.
    ///   - delay: seconds from the deletion of an account until its data is removed.
    ///   - timestamps: the clock of this node.
    package init(
        eventLoop: any EventLoop, workers: NIOThreadPool, logger: Logger, interval: TimeAmount = .seconds(30),
        delay: Int64 = 0, timestamps: TimestampSource, limits: StoreLimits = StoreLimits(), surroundings: Surroundings
    ) {
        self.eventLoop = eventLoop
        self.logger = logger
        self.interval = interval
        self.delay = delay
        self.surroundings = surroundings
        passes = PassSchedule(on: eventLoop, interval: interval)
        loop = ProxyLoop(
            eventLoop: eventLoop, cluster: surroundings.cluster(), timestamps: timestamps, workers: workers,
            limits: limits)
    }

    package func start() {
        eventLoop.execute { [self] in
            loop.start()
            passes.start(after: interval) { [self] in pass() }
        }
    }

    package func stop() {
        eventLoop.execute { [self] in
            control.stop()
            passes.stop()
            loop.stop()
        }
    }

    /// Has a pass made now, or once more after the one under way; done at its end.
    package func runPass() -> EventLoopFuture<Void> { passes.run() }

    private var done: EventLoopFuture<Void> { eventLoop.makeSucceededVoidFuture() }

    // MARK: Accounts

    private func pass() -> EventLoopFuture<Void> {
        control.beginPass(total: nil)
        let devices = surroundings.devices().sorted()
        return BoundedTasks.run(devices.count, width: 1, on: eventLoop) { [self] in
            reapAccounts(of: devices[$0], from: HashRange.all.first)
        }.map { [control] in
            control.note(activity: "")
            control.endPass()
        }
    }

    private func reapAccounts(of device: UInt16, from first: PathHash) -> EventLoopFuture<Void> {
        guard !passes.isStopped else { return done }
        return surroundings.deleted(device, first).hop(to: eventLoop).flatMap { [self] page in
            BoundedTasks.run(
                page.accounts.count, width: Self.accountsAtOnce, on: eventLoop, pause: control.timeToNextStep
            ) { [self] in reap(page.accounts[$0].account, from: device) }.flatMap { [self] in
                page.next.map { reapAccounts(of: device, from: $0) } ?? done
            }
        }.flatMapErrorThrowing { [control] error in
            control.note(error: "the accounts on device \(device) can't be read: \(error)")
        }
    }

    private func reap(_ name: [UInt8], from device: UInt16) -> EventLoopFuture<Void> {
        let account = account(name)
        guard !passes.isStopped, let place = account.primaries.firstIndex(of: device) else { return done }
        return isHeld(account, before: place).flatMap { [self] isHeld in
            isHeld ? eventLoop.makeSucceededFuture(false) : confirmDeletion(of: account)
        }.flatMap { [self] isDeleted in
            guard isDeleted else { return done }
            control.note(activity: "removing what is in \(String(decoding: name, as: UTF8.self))")
            return reapContainers(of: name, after: []).flatMap { [self] in noteEnd(of: account) }
        }
    }

    /// An account by the rings of now.
    private func account(_ name: [UInt8]) -> TableTarget {
        loop.cluster = surroundings.cluster()
        return TableTarget(cluster: loop.cluster, account: name)
    }

    /// Whether an earlier primary answers: the account is its work then, also if an operator has paused it there.
    private func isHeld(_ account: TableTarget, before place: Int) -> EventLoopFuture<Bool> {
        let replies = account.primaries.prefix(place).compactMap { device in
            loop.cluster.nodes.node(ofDevice: device)?.ask(
                .readTable(account.address(device)), within: loop.limits.readTimeout, on: eventLoop)
        }
        return EventLoopFuture.whenAllSucceed(replies, on: eventLoop).map { replies in
            replies.contains { if case .table = $0 { true } else { false } }
        }
    }

    /// Whether a majority has the deletion. One that was cut off may be known to a minority only, so that others still find the account: it is carried
    /// through before anything is removed.
    private func confirmDeletion(of account: TableTarget) -> EventLoopFuture<Bool> {
        let promise = eventLoop.makePromise(of: Bool.self)
        TableRead.run(loop, account) { [self] outcome in
            switch outcome {
            case .unavailable(let failure):
                note(failure, account)
                promise.succeed(false)
            case .state(let state):
                let now = Timestamp(ticks: loop.timestamps.wallTicks()).seconds
                guard let head = state.head, head.isDeletedAccount, head.deleted.seconds + delay <= now else {
                    return promise.succeed(false)
                }
                TableChanges.delete(loop, account, at: head.deleted) { [self] in
                    promise.succeed(isStored($0, account))
                }
            }
        }
        return promise.futureResult
    }

    private func noteEnd(of account: TableTarget) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        TableRead.run(loop, account) { [self] outcome in
            if case .state(let state) = outcome, state.rows == 0 {
                logger.info(
                    "Nothing is left of a deleted account",
                    metadata: ["account": "\(String(decoding: account.account, as: UTF8.self))"])
            }
            promise.succeed()
        }
        return promise.futureResult
    }

    // MARK: Containers

    private func reapContainers(of name: [UInt8], after marker: [UInt8]) -> EventLoopFuture<Void> {
        guard !passes.isStopped else { return done }
        return page(of: account(name), after: marker, limit: Self.containersPage).flatMap { [self] page in
            guard let page else { return done }
            return BoundedTasks.run(
                page.rows.count, width: Self.containersAtOnce, on: eventLoop, pause: control.timeToNextStep
            ) { [self] in reap(page.rows[$0], of: name) }.flatMap { [self] in
                page.next.map { reapContainers(of: name, after: $0) } ?? done
            }
        }
    }

    private func reap(_ row: TableRow, of account: [UInt8]) -> EventLoopFuture<Void> {
        reapObjects(of: row.name, account, after: []).flatMap { [self] state in
            guard let state, !passes.isStopped else { return done }
            return remove(row, state, of: account)
        }
    }

    /// Removes a container that had this state and no objects, and its row in the account.
    private func remove(_ row: TableRow, _ state: TableState, of name: [UInt8]) -> EventLoopFuture<Void> {
        let account = account(name)
        let container = TableTarget(cluster: loop.cluster, account: name, container: row.name)
        let newest = max(state.head?.put ?? .never, state.head?.deleted ?? .never, state.lastChange)
        // Two above: the account may have heard of it with a time that is one above (`AccountReporter`).
        let timestamp = Timestamp(rawValue: max(newest.rawValue + 2, row.timestamp.rawValue + 1))
        let promise = eventLoop.makePromise(of: Void.self)
        // Also when it is deleted already: that may be known to a minority only.
        TableChanges.delete(loop, container, at: timestamp) { [self] outcome in
            guard isStored(outcome, container) else { return promise.succeed() }
            TableChanges.list(loop, row.name, policy: row.policy, in: account, at: timestamp, deleted: true) {
                [self] in
                _ = isStored($0, account)
                promise.succeed()
            }
        }
        return promise.futureResult
    }

    // MARK: Objects

    /// Removes all objects of a container.
    ///
    /// - Returns: the state of the container when it had none any more; nil when some are left.
    private func reapObjects(
        of container: [UInt8], _ account: [UInt8], after marker: [UInt8], isAnyLeft: Bool = false
    ) -> EventLoopFuture<TableState?> {
        guard !passes.isStopped else { return eventLoop.makeSucceededFuture(nil) }
        loop.cluster = surroundings.cluster()
        let target = TableTarget(cluster: loop.cluster, account: account, container: container)
        return page(of: target, after: marker, limit: Self.objectsPage).flatMap { [self] page in
            guard let page else { return eventLoop.makeSucceededFuture(nil) }
            if page.rows.isEmpty { return eventLoop.makeSucceededFuture(marker.isEmpty ? page.state : nil) }
            var isAnyLeft = isAnyLeft
            return BoundedTasks.run(
                page.rows.count, width: Self.objectsAtOnce, on: eventLoop, pause: control.timeToNextStep
            ) { [self] in
                remove(page.rows[$0], from: target).assumeIsolated().map { if !$0 { isAnyLeft = true } }.nonisolated()
            }.assumeIsolated().flatMap { [self] in
                if let next = page.next {
                    return reapObjects(of: container, account, after: next, isAnyLeft: isAnyLeft)
                }
                // Once more from the beginning: only what is seen to be empty is deleted.
                return isAnyLeft
                    ? eventLoop.makeSucceededFuture(nil) : reapObjects(of: container, account, after: [])
            }.nonisolated()
        }
    }

    private func remove(_ row: TableRow, from container: TableTarget) -> EventLoopFuture<Bool> {
        guard !passes.isStopped,
            let object = ObjectTarget(
                cluster: loop.cluster, policy: row.policy, account: container.account, container: container.container,
                containerHash: container.hash, object: row.name)
        else { return eventLoop.makeSucceededFuture(false) }
        let promise = eventLoop.makePromise(of: Bool.self)
        ObjectChanges.delete(loop, object, at: Timestamp(rawValue: row.timestamp.rawValue + 1)) { [self] outcome in
            switch outcome {
            case .stored:
                _ = control.step(1)
                promise.succeed(true)
            case .missing: promise.succeed(false)
            case .unavailable(let failure):
                note(failure, container)
                promise.succeed(false)
            }
        }
        return promise.futureResult
    }

    // MARK: Reading and noting

    private struct Page: Sendable {
        var state: TableState
        var rows: [TableRow]
        /// The marker of the next page; nil when this is the last one.
        var next: [UInt8]?
    }

    /// A page of a listing; nil when there is none to be had now.
    private func page(of table: TableTarget, after marker: [UInt8], limit: Int) -> EventLoopFuture<Page?> {
        let promise = eventLoop.makePromise(of: Page?.self)
        let query = ListTable(table: table.address(table.primaries.first ?? 0), limit: limit, marker: marker)
        TableListing.run(loop, table, query) { [self] outcome in
            switch outcome {
            case .unavailable(let failure):
                note(failure, table)
                promise.succeed(nil)
            case .page(let state, let count, let entries):
                var rows: [TableRow] = []
                rows.reserveCapacity(count)
                let isReadable = ListingQuery.forEachEntry(of: entries) { entry in
                    if case .row(let row) = entry { rows.append(row) }
                }
                guard isReadable else {
                    note(StorageFailure(.corrupt, "a listing can't be read"), table)
                    return promise.succeed(nil)
                }
                promise.succeed(Page(state: state, rows: rows, next: count < limit ? nil : rows.last?.name))
            }
        }
        return promise.futureResult
    }

    private func isStored(_ outcome: TableChanges.Outcome, _ table: TableTarget) -> Bool {
        switch outcome {
        case .stored: return true
        // Something has happened to it since it was seen: the next pass sees what.
        case .missing, .deleted, .notEmpty, .policyConflict: return false
        case .unavailable(let failure):
            note(failure, table)
            return false
        }
    }

    private func note(_ failure: StorageFailure, _ table: TableTarget) {
        let names = [table.account, table.container].filter { !$0.isEmpty }
        let path = names.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
        control.note(error: "\(path): \(failure.reason) \(failure.detail)")
    }
}
