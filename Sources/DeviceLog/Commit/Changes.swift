/// The changes of one batch, visible to later decisions of the same batch and to nobody else before they are durable.
final class Changes {
    struct ObjectChange {
        var key: ObjectKey
        var old: ObjectEntry?
        var new: ObjectEntry
    }

    struct RowChange {
        var table: TableKey
        var name: [UInt8]
        /// By `MemoryLayer.hash`.
        var hash: UInt64
        var old: StoredRow?
        var new: StoredRow
    }

    private let catalog: Catalog
    /// Of one batch: every end of a pending update has to be told.
    let layer = MemoryLayer(rows: 256, firstPending: .max)
    private(set) var objects: [ObjectChange] = []
    private(set) var rows: [RowChange] = []
    private(set) var liveBytes: [(segment: UInt32, bytes: Int64)] = []
    var losses: Int64 = 0

    init(_ catalog: Catalog) {
        self.catalog = catalog
    }

    func removeAll() {
        layer.removeAll()
        objects.removeAll(keepingCapacity: true)
        rows.removeAll(keepingCapacity: true)
        liveBytes.removeAll(keepingCapacity: true)
        losses = 0
    }

    // MARK: What is there, this batch included

    func object(_ key: ObjectKey) throws(DeviceLogError) -> ObjectEntry? {
        let entry = if let entry = layer.objects[key] { entry } else { try catalog.object(key) }
        return entry?.kind == .removed ? nil : entry
    }

    func row(_ table: TableKey, _ name: [UInt8]) throws(DeviceLogError) -> StoredRow? {
        try name.withBytes { (name) throws(DeviceLogError) in
            let hash = MemoryLayer.hash(table, name)
            if let row = layer.row(table, name, hash: hash) { return row }
            return try catalog.row(table, name, hash: hash)
        }
    }

    func table(_ key: TableKey) throws(DeviceLogError) -> TableState {
        if let state = layer.tables[key] { return state }
        return try catalog.table(key) ?? TableState()
    }

    func pending(_ id: UInt64) throws(DeviceLogError) -> PendingEntry? {
        if let known = layer.pending[id] { return known }
        return try catalog.pending(id)
    }

    // MARK: Changes

    func set(_ key: ObjectKey, from old: ObjectEntry?, to new: ObjectEntry) {
        layer.objects[key] = new
        objects.append(ObjectChange(key: key, old: old, new: new))
        if let old {
            count(old.record, -1)
            count(old.data, -1)
            if old.blob != 0, old.blob != new.blob { layer.blobs[old.blob] = false }
        }
        if new.kind != .removed {
            count(new.record, 1)
            count(new.data, 1)
        }
        if new.blob != 0 { layer.blobs[new.blob] = true }
    }

    func set(_ table: TableKey, _ name: [UInt8], from old: StoredRow?, to new: StoredRow) throws(DeviceLogError) {
        var state = try self.table(table)
        if let old {
            count(old.record, -1)
            if old.kind == .live { state.stats[old.bucket].add(old, -1) }
            state.stats.digest ^= old.digest(named: name)
        }
        count(new.record, 1)
        if new.kind == .live { state.stats[new.bucket].add(new, 1) }
        state.stats.digest ^= new.digest(named: name)
        state.stats.lastChange = max(state.stats.lastChange, new.timestamp)
        layer.tables[table] = state
        let hash = name.withUnsafeBytes { MemoryLayer.hash(table, $0) }
        layer.setRow(table, name, new, hash: hash, hidesOther: false)
        rows.append(RowChange(table: table, name: name, hash: hash, old: old, new: new))
    }

    func set(_ table: TableKey, info: [UInt8], record: RecordLocation) throws(DeviceLogError) {
        var state = try self.table(table)
        count(state.infoRecord, -1)
        count(record, 1)
        state.info = info
        state.infoRecord = record
        layer.tables[table] = state
    }

    func set(pending id: UInt64, from old: PendingEntry?, to new: PendingEntry?) {
        if let old { count(old.record, -1) }
        if let new { count(new.record, 1) }
        layer.set(pending: id, to: new)
    }

    private func count(_ record: RecordLocation, _ sign: Int64) {
        if record.length != 0 { liveBytes.append((record.segment, sign * Int64(record.length))) }
    }
}

extension StoredRow {
    /// The row's part in the digest of its table. Two checksums and a finaliser (MurmurHash3's), because the XOR of checksums alone is
    /// linear: rows that differ in a pattern would cancel out.
    func digest(named name: [UInt8]) -> UInt64 {
        let (low, high) = name.withUnsafeBytes { bytes in
            (UInt64(CRC32C.checksum(bytes)), UInt64(CRC32C.checksum(bytes, seed: 0x9E37_79B9)))
        }
        var hash = Self.mixed(high << 32 | low)
        hash = Self.mixed(hash ^ timestamp &+ UInt64(kind.rawValue))
        hash = Self.mixed(hash ^ UInt64(bitPattern: bytes))
        return Self.mixed(hash ^ UInt64(bitPattern: count) &* 0x9E37_79B9_7F4A_7C15)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var hash = value
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ hash >> 33
    }
}

extension TableStats.Totals {
    mutating func add(_ row: StoredRow, _ sign: Int64) {
        rows &+= sign
        bytes &+= sign &* row.bytes
        count &+= sign &* row.count
    }
}
