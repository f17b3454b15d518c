internal import CLMDB
internal import Glibc
internal import Synchronization

/// The index in an LMDB environment, in its safe mode: a commit is an fsync, pages in use are never overwritten.
///
/// A flush changes pages in the map itself: otherwise LMDB copies each to memory of its own, and keeps the memory of the largest flush there
/// ever was. The file has blocks for all of the map (a hole on a full disk would be a SIGBUS), and so the map grows with what is in it.
final class LMDBIndex: IndexStore, @unchecked Sendable {
    private static let maximumReaders: UInt32 = 512
    private static let flags = UInt32(MDB_NOTLS | MDB_NORDAHEAD | MDB_WRITEMAP)
    /// The map grows by this or by a quarter.
    private static let growth = 4 << 20

    private let directory: String
    private let maximumMapSize: Int
    private let residentLimit: Int
    private var environment: OpaquePointer?
    private var mapSize = 0
    /// Where the map is.
    private var map: UnsafeMutableRawPointer?
    /// Readers share it; the map moves under an exclusive hold.
    private let mapLock = SharedLock()
    private var databases = LMDBDatabases()
    /// Read transactions that were reset, for reuse.
    private let readers = Mutex<[Reader]>([])

    private struct Reader: @unchecked Sendable {
        let transaction: OpaquePointer
    }

    /// Opens or creates the environment in `directory`, which exists. Throws when the file is damaged.
    init(directory: String, mapSize: Int, residentLimit: Int) throws(DeviceLogError) {
        self.directory = directory
        maximumMapSize = mapSize
        self.residentLimit = residentLimit
        try openEnvironment()
    }

    deinit {
        close()
    }

    // MARK: Single entries

    func state() throws(DeviceLogError) -> IndexState? {
        try get(databases.meta, LMDBDatabases.stateKey) { IndexCoding.state($0, key: $1) }
    }

    func object(_ key: ObjectKey) throws(DeviceLogError) -> ObjectEntry? {
        let reader = try beginRead()
        defer { endRead(reader) }
        return try withUnsafeTemporaryBytes(IndexCoding.objectKeySize) { (bytes) throws(DeviceLogError) in
            IndexCoding.key(key, to: bytes.baseAddress!)
            let bytes = UnsafeRawBufferPointer(bytes)
            guard let value = try LMDB.get(reader.transaction, databases.objects, bytes) else { return nil }
            guard let entry = IndexCoding.object(value, key: bytes) else { throw .corrupt }
            return entry
        }
    }

    func row(_ table: TableKey, _ name: UnsafeRawBufferPointer) throws(DeviceLogError) -> StoredRow? {
        let reader = try beginRead()
        defer { endRead(reader) }
        for database in [databases.rows, databases.deletedRows] {
            if let row = try LMDBRows(reader.transaction, database, table).get(name) { return row }
        }
        return nil
    }

    func table(_ key: TableKey) throws(DeviceLogError) -> TableState? {
        try get(databases.tables, IndexCoding.key(key)) { IndexCoding.table($0, key: $1) }
    }

    func pending(_ id: UInt64) throws(DeviceLogError) -> PendingEntry? {
        try get(databases.pending, LMDBDatabases.key(id)) { IndexCoding.pending($0, key: $1) }
    }

    func hasBlob(_ id: UInt64) throws(DeviceLogError) -> Bool {
        let found: Bool? = try get(databases.blobs, LMDBDatabases.key(id)) { _, _ in true }
        return found ?? false
    }

    private func get<Value>(
        _ database: MDB_dbi, _ key: [UInt8], _ decode: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Value? {
        let reader = try beginRead()
        defer { endRead(reader) }
        return try key.withBytes { (key) throws(DeviceLogError) in
            guard let value = try LMDB.get(reader.transaction, database, key) else { return nil }
            guard let decoded = decode(value, key) else { throw .corrupt }
            return decoded
        }
    }

    // MARK: Ranges

    func pending(from first: UInt64, limit: Int) throws(DeviceLogError) -> [(id: UInt64, entry: PendingEntry)] {
        var found: [(id: UInt64, entry: PendingEntry)] = []
        var isDamaged = false
        try walk(databases.pending, from: LMDBDatabases.key(first)) { key, value in
            guard found.count < limit, key.count == 8 else { return false }
            guard let entry = IndexCoding.pending(value, key: key) else {
                isDamaged = true
                return true
            }
            found.append((id: UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)), entry: entry))
            return true
        }
        if isDamaged { throw .corrupt }
        return found
    }

    func digestPages(_ visit: (DigestPage) -> Void) throws(DeviceLogError) {
        var isDamaged = false
        try walk(databases.digests, from: [0]) { key, value in
            guard let page = IndexCoding.digestPage(value, key: key) else {
                isDamaged = true
                return false
            }
            visit(page)
            return true
        }
        if isDamaged { throw .corrupt }
    }

    func scanObjects(from key: ObjectKey, _ visit: (ObjectKey, ObjectEntry) -> Bool) throws(DeviceLogError) {
        var start = [UInt8](repeating: 0, count: IndexCoding.objectKeySize)
        start.withUnsafeMutableBytes { IndexCoding.key(key, to: $0.baseAddress!) }
        var isDamaged = false
        try walk(databases.objects, from: start) { key, value in
            guard let object = IndexCoding.objectKey(key), let entry = IndexCoding.object(value, key: key) else {
                isDamaged = true
                return false
            }
            return visit(object, entry)
        }
        if isDamaged { throw .corrupt }
    }

    func scanRows(
        _ table: TableKey, kind: StoredRow.Kind, from start: ScanStart, reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) {
        let reader = try beginRead()
        defer { endRead(reader) }
        let database = kind == .live ? databases.rows : databases.deletedRows
        try LMDBRows(reader.transaction, database, table).scan(from: start, reverse: reverse, visit)
    }

    private func walk(
        _ database: MDB_dbi, from key: [UInt8],
        _ visit: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Bool
    ) throws(DeviceLogError) {
        let reader = try beginRead()
        defer { endRead(reader) }
        let cursor = try LMDBCursor(reader.transaction, database)
        var entry = try cursor.seek(key)
        while let (key, value) = entry, visit(key, value) { entry = try cursor.move(MDB_NEXT) }
    }

    // MARK: Changes

    func apply(_ changes: IndexChanges) throws(DeviceLogError) {
        while true {
            do {
                try write(changes)
                break
            } catch .index(code: MDB_MAP_FULL) where mapSize < maximumMapSize {
                try grow()
            }
        }
        releaseMemory()
    }

    private func write(_ changes: IndexChanges) throws(DeviceLogError) {
        var transaction: OpaquePointer?
        try LMDB.check(mdb_txn_begin(environment, nil, 0, &transaction))
        guard let transaction else { throw .closed }
        do {
            try databases.write(changes, transaction, pause: { releaseMemory() })
        } catch {
            mdb_txn_abort(transaction)
            throw error
        }
        // Cleaning a page that is mapped costs an interrupt of every core that runs us, for each page.
        releaseMemory(above: 0)
        try LMDB.check(mdb_txn_commit(transaction))
    }

    /// Outside of transactions.
    private func grow() throws(DeviceLogError) {
        var size = min(mapSize + max(Self.growth, mapSize / 4 / Self.growth * Self.growth), maximumMapSize)
        do throws(DeviceLogError) { try allocate(size) } catch {
            // A disk that is nearly full has room for a smaller step.
            guard error == .full else { throw error }
            size = min(mapSize + Self.growth, maximumMapSize)
            try allocate(size)
        }
        let code = mapLock.withExclusive { mdb_env_set_mapsize(environment, size) }
        try LMDB.check(code)
        mapSize = size
        map = MappedFile.address(of: "\(directory)/data.mdb")
    }

    /// Gives the file blocks up to this length.
    private func allocate(_ size: Int) throws(DeviceLogError) {
        let file = open("\(directory)/data.mdb", O_RDWR | O_CLOEXEC)
        guard file >= 0 else { throw .io(errno: errno) }
        defer { Glibc.close(file) }
        // Unlike fallocate, it writes zeros where the file system cannot allocate.
        let code = posix_fallocate(file, 0, off_t(size))
        guard code == 0 else { throw code == ENOSPC ? .full : .io(errno: code) }
    }

    func erase() throws(DeviceLogError) {
        close()
        for name in ["data.mdb", "lock.mdb"] {
            guard unlink("\(directory)/\(name)") == 0 || errno == ENOENT else { throw .io(errno: errno) }
        }
        try openEnvironment()
    }

    func close() {
        guard let open = environment else { return }
        readers.withLock { pool in
            for reader in pool { mdb_txn_abort(reader.transaction) }
            pool.removeAll()
        }
        mdb_env_close(open)
        environment = nil
    }

    private func openEnvironment() throws(DeviceLogError) {
        var created: OpaquePointer?
        try LMDB.check(mdb_env_create(&created))
        guard let created else { throw .closed }
        do {
            var status = stat()
            let length = stat("\(directory)/data.mdb", &status) == 0 ? Int(status.st_size) : 0
            mapSize = min(max(Self.growth, (length + Self.growth - 1) / Self.growth * Self.growth), maximumMapSize)
            try LMDB.check(mdb_env_set_mapsize(created, mapSize))
            try LMDB.check(mdb_env_set_maxdbs(created, LMDBDatabases.count))
            try LMDB.check(mdb_env_set_maxreaders(created, Self.maximumReaders))
            try LMDB.check(mdb_env_open(created, directory, Self.flags, 0o600))
            try checkLength(created, length)
            try allocate(mapSize)
            map = MappedFile.address(of: "\(directory)/data.mdb")
            var transaction: OpaquePointer?
            try LMDB.check(mdb_txn_begin(created, nil, 0, &transaction))
            guard let transaction else { throw DeviceLogError.closed }
            do {
                databases = try LMDBDatabases(transaction)
            } catch {
                mdb_txn_abort(transaction)
                throw error
            }
            try LMDB.check(mdb_txn_commit(transaction))
        } catch {
            mdb_env_close(created)
            throw error as? DeviceLogError ?? .closed
        }
        environment = created
    }

    /// A file that lost its end would be a SIGBUS later.
    private func checkLength(_ environment: OpaquePointer, _ length: Int) throws(DeviceLogError) {
        var info = MDB_envinfo()
        var tree = MDB_stat()
        try LMDB.check(mdb_env_info(environment, &info))
        try LMDB.check(mdb_env_stat(environment, &tree))
        let needed = (info.me_last_pgno + 1) * Int(tree.ms_psize)
        guard length == 0 || needed <= length else { throw .index(code: MDB_CORRUPTED) }
    }

    /// Pages of the map count as resident memory of the process: give them back, they stay in the page cache, changed ones too.
    func releaseMemory() { releaseMemory(above: residentLimit) }

    private func releaseMemory(above limit: Int) {
        guard let environment else { return }
        var info = MDB_envinfo()
        var tree = MDB_stat()
        guard mdb_env_info(environment, &info) == 0, mdb_env_stat(environment, &tree) == 0 else { return }
        let used = (info.me_last_pgno + 1) * Int(tree.ms_psize)
        if used > limit, let map { madvise(map, min(used, mapSize), MADV_DONTNEED) }
    }

    // MARK: Readers

    private func beginRead() throws(DeviceLogError) -> Reader {
        mapLock.lockShared()
        do throws(DeviceLogError) { return try takeReader() } catch {
            mapLock.unlock()
            throw error
        }
    }

    private func takeReader() throws(DeviceLogError) -> Reader {
        if let reader = readers.withLock({ $0.popLast() }) {
            try LMDB.check(mdb_txn_renew(reader.transaction))
            return reader
        }
        guard let environment else { throw .closed }
        var transaction: OpaquePointer?
        try LMDB.check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction))
        guard let transaction else { throw .closed }
        return Reader(transaction: transaction)
    }

    private func endRead(_ reader: Reader) {
        mdb_txn_reset(reader.transaction)
        readers.withLock { $0.append(reader) }
        mapLock.unlock()
    }
}

/// Held by many at once, or by one alone; may be taken again by who shares it.
private final class SharedLock: Sendable {
    // Unchecked: a lock.
    private nonisolated(unsafe) let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)

    init() { pthread_rwlock_init(lock, nil) }

    deinit {
        pthread_rwlock_destroy(lock)
        lock.deallocate()
    }

    func lockShared() { pthread_rwlock_rdlock(lock) }
    func unlock() { pthread_rwlock_unlock(lock) }

    func withExclusive<Value>(_ body: () -> Value) -> Value {
        pthread_rwlock_wrlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return body()
    }
}
