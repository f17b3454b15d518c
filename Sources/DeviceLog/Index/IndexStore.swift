/// The index on disk: a cache of the log that can be thrown away.
///
/// Reads come from any thread, `apply` from one at a time.
protocol IndexStore: AnyObject, Sendable {
    /// Nil when nothing was ever applied.
    func state() throws(DeviceLogError) -> IndexState?
    func object(_ key: ObjectKey) throws(DeviceLogError) -> ObjectEntry?
    func row(_ table: TableKey, _ name: UnsafeRawBufferPointer) throws(DeviceLogError) -> StoredRow?
    func table(_ key: TableKey) throws(DeviceLogError) -> TableState?
    func pending(_ id: UInt64) throws(DeviceLogError) -> PendingEntry?
    /// In ascending order of their numbers, from `first` on.
    func pending(from first: UInt64, limit: Int) throws(DeviceLogError) -> [(id: UInt64, entry: PendingEntry)]
    func hasBlob(_ id: UInt64) throws(DeviceLogError) -> Bool
    func digestPages(_ visit: (DigestPage) -> Void) throws(DeviceLogError)
    /// Entries from `key` on in the order of policy and hash, until the visit says false.
    func scanObjects(from key: ObjectKey, _ visit: (ObjectKey, ObjectEntry) -> Bool) throws(DeviceLogError)
    /// Tables from `key` on in the order of kind and hash, until the visit says false.
    func scanTables(from key: TableKey, _ visit: (TableKey, TableState) -> Bool) throws(DeviceLogError)
    /// Rows of one kind of a table.
    func scanRows(
        _ table: TableKey, kind: StoredRow.Kind, from start: ScanStart, reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError)
    /// What refers to records that `isWanted` tells, in no order, until the visit says false.
    func references(
        to isWanted: (RecordLocation) -> Bool, _ visit: (LogReference) -> Bool
    ) throws(DeviceLogError)
    /// Reads all of it from the disk and verifies it. Damage is noted, as when a read meets it.
    ///
    /// - Parameters:
    ///   - advance: told of bytes that were read; false ends it.
    ///   - damaged: told of each run that is damaged and was not known to be.
    /// - Returns: false when `advance` ended it.
    func audit(advance: (Int) -> Bool, damaged: (_ run: UInt64) -> Void) throws(DeviceLogError) -> Bool
    /// Bytes on disk.
    var size: Int64 { get }
    /// All or nothing, and durable.
    func apply(_ changes: IndexChanges) throws(DeviceLogError)
    /// Does what keeps it small and quick, a piece at a time, until nothing is left to do or `isDue` says true. As `apply`, from one at a time.
    func tidy(until isDue: () -> Bool) throws(DeviceLogError)
    /// Makes it empty.
    func erase() throws(DeviceLogError)
    /// Every read throws `.closed` from here on.
    ///
    /// - Parameter erasing: the next start finds none.
    func close(erasing: Bool) throws(DeviceLogError)
}

/// An entry of the index that has a record in the log.
enum LogReference: Hashable, Sendable {
    case object(ObjectKey)
    case row(TableKey, name: [UInt8])
    case info(TableKey)
    case pending(UInt64)
}

/// What one flush moves from memory to the index.
struct IndexChanges {
    var layer: MemoryLayer
    var digests: [DigestPage]
    var state: IndexState
}

/// What was committed since a flush. Not synchronised: `Catalog` does that.
final class MemoryLayer: @unchecked Sendable {
    let objects = ObjectTable()
    private(set) var rows: [TableKey: SortedRows] = [:]
    private(set) var rowCount = 0
    /// Most rows that are written are new: this tells so without a search.
    private var rowFilter: KeyFilter
    var tables: [TableKey: TableState] = [:]
    /// Nil: done.
    private(set) var pending: [UInt64: PendingEntry?] = [:]
    /// Updates of this number and above began in this layer: once done, nothing below has to be told.
    var firstPending: UInt64 = 0
    /// False: no longer referred to.
    var blobs: [UInt64: Bool] = [:]

    var count: Int { objects.count + rowCount + tables.count + pending.count }
    var isEmpty: Bool { count == 0 && blobs.isEmpty }

    /// - Parameters:
    ///   - rows: about so many will be in it.
    ///   - firstPending: the number of the next pending update.
    init(rows: Int, firstPending: UInt64) {
        rowFilter = KeyFilter(keys: rows)
        self.firstPending = firstPending
    }

    /// - Parameter hash: by `hash(table, name)`.
    func row(_ table: TableKey, _ name: UnsafeRawBufferPointer, hash: UInt64) -> StoredRow? {
        rowFilter.mayContain(hash) ? rows[table]?.find(name) : nil
    }

    /// - Parameter entry: nil when the update is done.
    func set(pending id: UInt64, to entry: PendingEntry?) {
        if entry == nil, id >= firstPending { pending[id] = nil } else { pending[id] = .some(entry) }
    }

    static func hash(_ table: TableKey, _ name: UnsafeRawBufferPointer) -> UInt64 {
        IndexSpace.rows.withKey(table, name) { KeyFilter.hash(UnsafeRawBufferPointer($0)) }
    }

    /// - Parameter hidesOther: whether a row of the other kind was there, here or below.
    func setRow(_ table: TableKey, _ name: [UInt8], _ row: StoredRow, hash: UInt64, hidesOther: Bool) {
        rowFilter.insert(hash)
        let sorted: SortedRows
        if let known = rows[table] {
            sorted = known
        } else {
            sorted = SortedRows()
            rows[table] = sorted
        }
        rowCount -= sorted.count
        sorted.set(name, row, hidesOther: hidesOther)
        rowCount += sorted.count
    }

    /// Empties the layer for the next batch.
    func removeAll() {
        objects.removeAll()
        if rowCount > 0 {
            rows.removeAll(keepingCapacity: true)
            rowFilter.removeAll()
            rowCount = 0
        }
        if !tables.isEmpty { tables.removeAll(keepingCapacity: true) }
        if !pending.isEmpty { pending.removeAll(keepingCapacity: true) }
        if !blobs.isEmpty { blobs.removeAll(keepingCapacity: true) }
    }
}
