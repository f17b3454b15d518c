import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// Merges a table of another device into the one of this node's: its head, and those rows of each chunk that differs that are newer there.
///
/// Unchecked: bound to its event loop.
final class TableFetch: @unchecked Sendable {
    private let own: TableAddress
    private let other: TableAddress
    private let log: DeviceLog
    private let node: any StorageNode
    private let server: ContainerServer
    private let eventLoop: any EventLoop
    private(set) var rows = 0

    private static let timeout = TimeAmount.seconds(30)
    /// Differing chunks whose rows are asked for at once.
    private static let width = 4

    private struct Failure: Error {
        var failure: StorageFailure
    }

    init(
        own: TableAddress, other: UInt16, log: DeviceLog, node: any StorageNode, server: ContainerServer,
        on eventLoop: any EventLoop
    ) {
        self.own = own
        var address = own
        address.device = other
        self.other = address
        self.log = log
        self.node = node
        self.server = server
        self.eventLoop = eventLoop
    }

    /// On the event loop; whether everything the other had is here now. Never fails.
    func run() -> EventLoopFuture<Bool> {
        mergeHead().flatMap { [self] in
            compare(deleted: false, after: []).and(compare(deleted: true, after: []))
        }.map { [self] _ in
            // Its account hears of it.
            if own.kind == .container { server.changes.insert(own) }
            return true
        }.flatMapErrorThrowing { _ in false }
    }

    // MARK: Head

    private func mergeHead() -> EventLoopFuture<Void> {
        node.ask(.replication(.head(other)), within: Self.timeout, on: eventLoop).flatMapThrowing {
            reply -> ByteBuffer? in
            guard case .table(let table) = reply else { throw Self.failure(reply) }
            return table.head
        }.flatMap { [self] head in
            guard let head, let theirs = try? TableHead(decoding: head) else {
                return eventLoop.makeSucceededVoidFuture()
            }
            let write = Write.tableInfo(own.key) { info, _ in
                guard let info, var merged = try? TableHead(decoding: info) else { return .replace(theirs.encoded()) }
                let before = merged.digest
                merged.merge(theirs)
                return merged.digest == before ? .refuse(code: 0) : .replace(merged.encoded())
            }
            return submit([write])
        }
    }

    // MARK: Rows

    private func compare(deleted: Bool, after: [UInt8]) -> EventLoopFuture<Void> {
        let query = RowDigestQuery(table: other, deleted: deleted, after: after)
        return node.ask(.replication(.rows(query)), within: Self.timeout, on: eventLoop).flatMapThrowing { reply in
            guard case .replication(.rows(let page)) = reply else { throw Self.failure(reply) }
            return page
        }.flatMap { [self] page in
            server.workers.runIfActive(eventLoop: eventLoop) { [log, own] in
                try log.rowDigests(own, deleted: deleted, after: after, chunks: page.chunks)
            }.flatMap { [self] digests in
                fetch(page.chunks, after: after, where: zip(page.chunks, digests).map { $0.0.digest != $0.1 })
            }.flatMap { [self] in
                guard !page.isWhole, let last = page.chunks.last?.last else {
                    return eventLoop.makeSucceededVoidFuture()
                }
                return compare(deleted: deleted, after: last)
            }
        }
    }

    private func fetch(_ chunks: [RowChunk], after: [UInt8], where differs: [Bool]) -> EventLoopFuture<Void> {
        let wanted = chunks.indices.filter { differs[$0] }
        let promise = eventLoop.makePromise(of: Void.self)
        var firstFailure: (any Error)?
        BoundedTasks.run(wanted.count, width: Self.width, on: eventLoop) { [self] index in
            let place = wanted[index]
            let first = place == 0 ? after : chunks[place - 1].last
            let fetched = fetch(after: first, through: chunks[place].last)
            fetched.assumeIsolated().whenFailure { firstFailure = firstFailure ?? $0 }
            return fetched
        }.assumeIsolated().whenComplete { _ in
            if let firstFailure { promise.fail(firstFailure) } else { promise.succeed() }
        }
        return promise.futureResult
    }

    /// Rows of both kinds: what is live on one side may be deleted on the other.
    private func fetch(after: [UInt8], through last: [UInt8]) -> EventLoopFuture<Void> {
        // The least name behind `last`.
        let list = ListTable(
            table: other, limit: ListTable.maximumLimit, marker: after, endMarker: last + [0], includesDeleted: true)
        return node.ask(.replication(.list(list)), within: Self.timeout, on: eventLoop).flatMapThrowing {
            reply -> [TableRow] in
            guard case .listing(let listing) = reply else { throw Self.failure(reply) }
            return try Self.rows(listing)
        }.flatMap { [self] theirs in
            server.workers.runIfActive(eventLoop: eventLoop) { [log, own] in
                try theirs.filter { row in
                    try log.row(own.key, name: row.name).map { Self.isBetter(row, than: $0) } ?? true
                }
            }.flatMap { [self] newer in
                rows += newer.count
                let writes = newer.map { row in
                    Write.row(
                        own.key,
                        Row(
                            name: row.name, timestamp: row.timestamp.rawValue, deleted: row.deleted,
                            bucket: row.policy, bytes: row.bytes, count: row.count, value: row.value))
                }
                return submit(writes).flatMap { [self] in
                    guard theirs.count == ListTable.maximumLimit, let end = theirs.last?.name, end != last else {
                        return eventLoop.makeSucceededVoidFuture()
                    }
                    return fetch(after: end, through: last)
                }
            }
        }
    }

    private static func rows(_ listing: ListingReply) throws -> [TableRow] {
        var reader = WireReader(listing.entries)
        var rows: [TableRow] = []
        for _ in 0..<listing.count {
            if case .row(let row) = try ListingEntry(from: &reader) { rows.append(row) }
        }
        return rows
    }

    /// Newer; of two of one time the deleted one, then the larger, so that two replicas that take from each other end with the same.
    static func isBetter(_ row: TableRow, than own: Row) -> Bool {
        if row.timestamp.rawValue != own.timestamp { return row.timestamp.rawValue > own.timestamp }
        if row.deleted != own.deleted { return row.deleted }
        if row.count != own.count { return row.count > own.count }
        if row.bytes != own.bytes { return row.bytes > own.bytes }
        return own.value.readableBytesView.lexicographicallyPrecedes(row.value.readableBytesView)
    }

    // MARK: Writing

    private func submit(_ writes: [Write]) -> EventLoopFuture<Void> {
        let outcomes = writes.map { write in
            let merge = MergeWrite(sink: server.sinks.sink(for: eventLoop), on: eventLoop)
            log.submit(write, completion: merge)
            return merge.promise.futureResult
        }
        return EventLoopFuture.andAllSucceed(outcomes, on: eventLoop)
    }

    private static func failure(_ reply: StorageReply) -> Failure {
        if case .failed(let failure) = reply { return Failure(failure: failure) }
        return Failure(failure: StorageFailure(.malformed, "not an answer to the question"))
    }
}

private final class MergeWrite: WriteCompletion {
    let sink: any CompletionSink
    let promise: EventLoopPromise<Void>

    init(sink: EventLoopSink, on eventLoop: any EventLoop) {
        self.sink = sink
        promise = eventLoop.makePromise()
    }

    func completed(_ outcome: WriteOutcome) {
        // Superseded or refused: what is here says as much or more.
        if case .failed(let error) = outcome { promise.fail(error) } else { promise.succeed() }
    }
}
