import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// What other replicators ask.
extension ContainerServer {
    /// Rows that one digest stands for.
    static let rowsPerChunk = 256

    func tables(_ query: TableQuery, call: ServerCall) {
        guard let log = devices[query.device] else {
            return call.reply(.failed(StorageFailure(.noDevice, "device \(query.device) is not on this node")))
        }
        guard log.areForeign(query.kind.space, query.mustBeForeign) || query.mustBeForeign.isEmpty else {
            return call.reply(.failed(StorageFailure(.busy, "the partitions are still the device's own here")))
        }
        answer(call) { () throws(DeviceLogError) in .tables(try log.summaries(query)) }
    }

    func rows(_ query: RowDigestQuery, call: ServerCall) {
        guard let log = device(query.table, call: call) else { return }
        answer(call) { () throws(DeviceLogError) in .rows(try log.rowDigests(query)) }
    }

    /// Answers from a worker: walks over the index may wait for the disk.
    private func answer(_ call: ServerCall, _ body: @escaping @Sendable () throws(DeviceLogError) -> ReplicationReply) {
        workers.submit { _ in
            let reply: StorageReply
            do throws(DeviceLogError) { reply = .replication(try body()) } catch {
                reply = .failed(ContainerServer.failure(error))
            }
            call.eventLoop.execute { call.reply(reply) }
        }
    }
}

extension DeviceLog {
    func summaries(_ query: TableQuery) throws(DeviceLogError) -> TablePage {
        var page = TablePage(tables: [], isWhole: true)
        let table = TableAddress(device: query.device, kind: query.kind, hash: query.range.first)
        try tables(table.key.kind, from: query.range.first, through: query.range.last) { hash, info, stats in
            guard page.tables.count < query.limit else {
                page.isWhole = false
                return false
            }
            page.tables.append(
                TableSummary(
                    hash: hash, rows: stats.digest,
                    head: info.flatMap { try? TableHead(decoding: $0).digest } ?? 0,
                    lastChange: Timestamp(rawValue: stats.lastChange)))
            return true
        }
        return page
    }

    func rowDigests(_ query: RowDigestQuery) throws(DeviceLogError) -> RowDigestPage {
        var page = RowDigestPage(chunks: [], isWhole: true)
        var chunk = RowChunk(last: [], digest: 0)
        var rows = 0
        try scan(
            query.table.key, kind: query.deleted ? .deleted : .live,
            from: query.after.isEmpty ? .first : .after(query.after)
        ) { name, row in
            if rows == ContainerServer.rowsPerChunk {
                page.chunks.append(chunk)
                guard page.chunks.count < RowDigestQuery.maximumChunks else {
                    page.isWhole = false
                    rows = 0
                    return .stop
                }
                chunk.digest = 0
                rows = 0
            }
            rows += 1
            chunk.last = Array(name)
            chunk.digest ^= Self.digest(name, row)
            return .next
        }
        if rows > 0 { page.chunks.append(chunk) }
        return page
    }

    /// The digests of the rows here between the same names.
    func rowDigests(
        _ table: TableAddress, deleted: Bool, after: [UInt8], chunks: [RowChunk]
    ) throws(DeviceLogError) -> [UInt64] {
        var digests = [UInt64](repeating: 0, count: chunks.count)
        var place = 0
        try scan(
            table.key, kind: deleted ? .deleted : .live, from: after.isEmpty ? .first : .after(after)
        ) { name, row in
            while place < chunks.count, chunks[place].last.lexicographicallyPrecedes(name) { place += 1 }
            guard place < chunks.count else { return .stop }
            digests[place] ^= Self.digest(name, row)
            return .next
        }
        return digests
    }

    private static func digest(_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> UInt64 {
        var digest = Digest64()
        digest.add(name)
        for number in [row.timestamp, UInt64(bitPattern: row.bytes), UInt64(bitPattern: row.count)] {
            digest.add(number)
        }
        return digest.value
    }
}
