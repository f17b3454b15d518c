internal import CLMDB

/// The named databases of the index and how a flush is written to them.
struct LMDBDatabases {
    static let count: UInt32 = 8
    static let stateKey: [UInt8] = [0]

    var meta: MDB_dbi = 0
    var objects: MDB_dbi = 0
    var rows: MDB_dbi = 0
    /// Rows that were deleted are apart, so that a listing never steps over them.
    var deletedRows: MDB_dbi = 0
    var tables: MDB_dbi = 0
    var pending: MDB_dbi = 0
    var blobs: MDB_dbi = 0
    var digests: MDB_dbi = 0

    init() {}

    init(_ transaction: OpaquePointer) throws(DeviceLogError) {
        func open(_ name: String) throws(DeviceLogError) -> MDB_dbi {
            var database: MDB_dbi = 0
            try LMDB.check(mdb_dbi_open(transaction, name, UInt32(MDB_CREATE), &database))
            return database
        }
        meta = try open("meta")
        objects = try open("objects")
        rows = try open("rows")
        deletedRows = try open("deleted-rows")
        tables = try open("tables")
        pending = try open("pending")
        blobs = try open("blobs")
        digests = try open("digests")
    }

    static func key(_ number: UInt64) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { [UInt8]($0) }
    }

    /// Entries written between two pauses.
    private static let stride = 4096

    /// - Parameter pause: called now and then in between.
    func write(
        _ changes: IndexChanges, _ transaction: OpaquePointer, pause: () -> Void
    ) throws(DeviceLogError) {
        try write(objects: changes.layer.objects, transaction, pause)
        try write(rows: changes.layer.rows, transaction, pause)
        for (table, state) in changes.layer.tables {
            let key = IndexCoding.key(table)
            try LMDB.put(transaction, tables, key, IndexCoding.encode(state, key: key))
        }
        for (id, entry) in changes.layer.pending {
            let key = Self.key(id)
            if let entry {
                try LMDB.put(transaction, pending, key, IndexCoding.encode(entry, key: key))
            } else {
                try key.withBytes { (key) throws(DeviceLogError) in try LMDB.remove(transaction, pending, key) }
            }
        }
        for (id, isLive) in changes.layer.blobs {
            let key = Self.key(id)
            if isLive {
                try LMDB.put(transaction, blobs, key, [])
            } else {
                try key.withBytes { (key) throws(DeviceLogError) in try LMDB.remove(transaction, blobs, key) }
            }
        }
        for page in changes.digests {
            let key = [page.policy, UInt8(page.number >> 8), UInt8(page.number & 0xFF)]
            try LMDB.put(transaction, digests, key, IndexCoding.encode(page, key: key))
        }
        let state = IndexCoding.encode(changes.state, key: Self.stateKey)
        try LMDB.put(transaction, meta, Self.stateKey, state)
    }

    private func write(
        objects table: ObjectTable, _ transaction: OpaquePointer, _ pause: () -> Void
    ) throws(DeviceLogError) {
        var written = 0
        try withUnsafeTemporaryBytes(80) { (bytes) throws(DeviceLogError) in
            let key = UnsafeRawBufferPointer(bytes).part(0, IndexCoding.objectKeySize)
            let value = UnsafeRawBufferPointer(bytes).part(24, IndexCoding.objectSize)
            for slot in table.sorted() {
                written += 1
                if written % Self.stride == 0 { pause() }
                IndexCoding.key(slot.key, to: bytes.baseAddress!)
                if slot.entry.kind == .removed {
                    try LMDB.remove(transaction, objects, key)
                } else {
                    IndexCoding.encode(slot.entry, key: key, to: bytes.baseAddress! + 24)
                    try LMDB.put(transaction, objects, key, value)
                }
            }
        }
    }

    private func write(
        rows tables: [TableKey: SortedRows], _ transaction: OpaquePointer, _ pause: () -> Void
    ) throws(DeviceLogError) {
        let ordered = tables.sorted { left, right in
            left.key.kind != right.key.kind
                ? left.key.kind.rawValue < right.key.kind.rawValue : left.key.hash < right.key.hash
        }
        for (table, sorted) in ordered {
            var changed: [SortedRows.Element] = []
            changed.reserveCapacity(min(sorted.count, Self.stride))
            func merge() throws(DeviceLogError) {
                try LMDBRows(transaction, rows, table).merge(changed, keeping: .live)
                try LMDBRows(transaction, deletedRows, table).merge(changed, keeping: .deleted)
                changed.removeAll(keepingCapacity: true)
                pause()
            }
            var failure: DeviceLogError?
            sorted.forEach { element in
                guard failure == nil else { return }
                changed.append(element)
                guard changed.count == Self.stride else { return }
                do throws(DeviceLogError) { try merge() } catch { failure = error }
            }
            if let failure { throw failure }
            try merge()
        }
    }
}
