package import NIOCore
package import Ring
internal import Synchronization

/// Tables: the listings of containers and accounts.
extension DeviceLog {
    /// The info that `Write.tableInfo` left, nil when there is none, and the sums over the live rows.
    package func tableInfo(_ table: TableKey) throws(DeviceLogError) -> (info: ByteBuffer?, stats: TableStats) {
        guard let state = try catalog.table(table) else { return (nil, TableStats()) }
        return (state.info.map { ByteBuffer(bytes: $0) }, state.stats)
    }

    /// One row, also a deleted one; nil when there never was one.
    package func row(_ table: TableKey, name: [UInt8]) throws(DeviceLogError) -> Row? {
        try catalog.row(table, name)?.row(named: name)
    }

    /// Visits rows in the order of their names' bytes, everything that was committed before the call included. The memory that
    /// `visit` is given is valid only inside the call.
    ///
    /// - Parameters:
    ///   - kind: live rows, or the tombstones of deleted ones; each has an index of its own, so that listings never step over tombstones.
    ///   - end: in the direction of the scan no row at or behind this name is visited, nor looked for.
    package func scan(
        _ table: TableKey, kind: RowKind = .live, from start: ScanStart, until end: [UInt8]? = nil,
        reverse: Bool = false, visit: (_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) {
        var scan = RowScan(catalog, table, kind: kind == .live ? .live : .deleted, until: end, reverse: reverse)
        try scan.run(from: start, visit)
    }

    /// The tables of one kind whose hashes are in a range, in the order of the hashes, until `visit` says false: those with rows or an info.
    package func tables(
        _ kind: TableKind, from first: PathHash, through last: PathHash,
        visit: (_ hash: PathHash, _ info: ByteBuffer?, _ stats: TableStats) -> Bool
    ) throws(DeviceLogError) {
        func isWanted(_ key: TableKey) -> Bool { key.kind == kind && !(key.hash < first) && !(last < key.hash) }
        // Memory first, as with lookups.
        let states = catalog.memory.withLock { memory in
            (memory.flushing?.layer.tables ?? [:]).filter { isWanted($0.key) }
                .merging(memory.active.tables.filter { isWanted($0.key) }) { $1 }
        }
        let recent = states.sorted { $0.key.hash < $1.key.hash }
        var next = 0
        var isStopped = false
        func emit(_ key: TableKey, _ state: TableState) -> Bool {
            isStopped = !visit(key.hash, state.info.map { ByteBuffer(bytes: $0) }, state.stats)
            return !isStopped
        }
        try catalog.index.scanTables(from: TableKey(kind: kind, hash: first)) { key, state in
            guard isWanted(key) else { return false }
            while next < recent.count, recent[next].key.hash < key.hash {
                next += 1
                guard emit(recent[next - 1].key, recent[next - 1].value) else { return false }
            }
            guard next < recent.count, recent[next].key == key else { return emit(key, state) }
            next += 1
            return emit(key, recent[next - 1].value)
        }
        while !isStopped, next < recent.count {
            next += 1
            _ = emit(recent[next - 1].key, recent[next - 1].value)
        }
    }

    /// Updates that wait for `Write.pendingDone`, the oldest first.
    package func pendingUpdates(limit: Int) throws(DeviceLogError) -> [(id: UInt64, payload: ByteBuffer)] {
        try catalog.pending(limit: limit).map { (id: $0.id, payload: ByteBuffer(bytes: $0.payload)) }
    }
}
