package import NIOCore

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

    /// Visits live rows in the order of their names' bytes, everything that was committed before the call included.
    /// The memory that `visit` is given is valid only inside the call.
    package func scan(
        _ table: TableKey, from start: ScanStart, reverse: Bool = false,
        visit: (_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) {
        var scan = RowScan(catalog, table, reverse: reverse)
        try scan.run(from: start, visit)
    }

    /// Updates that wait for `Write.pendingDone`, the oldest first.
    package func pendingUpdates(limit: Int) throws(DeviceLogError) -> [(id: UInt64, payload: ByteBuffer)] {
        try catalog.pending(limit: limit).map { (id: $0.id, payload: ByteBuffer(bytes: $0.payload)) }
    }
}
