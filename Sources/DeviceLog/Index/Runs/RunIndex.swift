internal import Glibc
internal import Synchronization

/// The index as sorted runs: each flush writes one, merges keep them few (a log-structured merge tree; O'Neil et al. 1996).
///
/// Nothing is ever changed in place: a flush costs the disk what it holds, wherever its keys fall. Every block that is read is verified.
final class RunIndex: IndexStore, @unchecked Sendable {
    /// What readers see; never changed.
    final class Version: Sendable {
        /// The newest first.
        let runs: [Run]
        let state: IndexState?

        init(runs: [Run], state: IndexState?) {
            self.runs = runs
            self.state = state
        }
    }

    let directory: String
    let fileSystem: any FileSystem
    let policy: MergePolicy
    private let memory: BlockMemory
    /// Nil once it is closed.
    private let current: Mutex<Version?>
    // For whoever writes.
    private var nextRun: UInt64
    /// Merges under way; each is of runs that are newer than those of the one before it. The last one goes on first.
    var merges: [RunMerge] = []
    /// A merge failed with these runs; another try is of no use before there are others.
    var failed: Version?
    /// A block could not be read. What was read is sound, but the runs from it on are not merged any more, and the next start rebuilds the index.
    private let damage = Atomic<Bool>(false)
    private var isDamageRecorded = false
    /// Runs that no manifest names any more, their files still to be removed.
    private var obsolete: [UInt64] = []

    /// Opens or creates the index in `directory`, which exists. Throws `.corrupt` when it is damaged.
    ///
    /// - Parameter memory: for blocks that are looked into; none by default.
    init(
        directory: String, fileSystem: any FileSystem, policy: MergePolicy, memory: BlockMemory = BlockMemory(limit: 0)
    ) throws(DeviceLogError) {
        self.memory = memory
        self.directory = directory
        self.fileSystem = fileSystem
        self.policy = policy
        let manifest = try RunManifest.read(directory, fileSystem)
        if manifest?.isDamaged ?? false { throw .corrupt }
        var runs: [Run] = []
        for number in manifest?.runs ?? [] {
            let file: any File
            do { file = try fileSystem.open(Self.path(directory, number), .read) } catch {
                throw error.errno == ENOENT ? .corrupt : DeviceLogError(error)
            }
            runs.append(try Run.open(file, number: number, memory: memory))
        }
        current = Mutex(Version(runs: runs, state: manifest?.state))
        nextRun = manifest?.nextRun ?? 1
        sweep(except: Set(runs.map(\.number)))
    }

    static func path(_ directory: String, _ number: UInt64) -> String { "\(directory)/\(number).run" }

    var version: Version {
        get throws(DeviceLogError) {
            guard let version = current.withLock({ $0 }) else { throw .closed }
            return version
        }
    }

    // MARK: Single entries

    func state() throws(DeviceLogError) -> IndexState? { try version.state }

    func object(_ key: ObjectKey) throws(DeviceLogError) -> ObjectEntry? {
        try withUnsafeTemporaryBytes(1 + IndexCoding.objectKeySize) { (bytes) throws(DeviceLogError) in
            bytes[0] = IndexSpace.objects.rawValue
            IndexCoding.key(key, to: bytes.baseAddress! + 1)
            return try find(UnsafeRawBufferPointer(bytes), IndexCoding.object)
        }
    }

    func row(_ table: TableKey, _ name: UnsafeRawBufferPointer) throws(DeviceLogError) -> StoredRow? {
        try IndexSpace.rows.withKey(table, name) { (key) throws(DeviceLogError) in
            let hash = KeyFilter.hash(UnsafeRawBufferPointer(key))
            return try noting { () throws(DeviceLogError) in
                // A run that has a row has it in one of the two spaces, and perhaps its removal from the other.
                for run in try version.runs where run.tail.filter.mayContain(hash) {
                    for space in [IndexSpace.rows, .deletedRows] {
                        key[0] = space.rawValue
                        if case .value(let row) = try run.find(UnsafeRawBufferPointer(key), IndexCoding.row) {
                            return row
                        }
                    }
                }
                return nil
            }
        }
    }

    func table(_ key: TableKey) throws(DeviceLogError) -> TableState? {
        try find(IndexSpace.tables.key(key), IndexCoding.table)
    }

    func pending(_ id: UInt64) throws(DeviceLogError) -> PendingEntry? {
        try find(IndexSpace.pending.key(id), IndexCoding.pending)
    }

    func hasBlob(_ id: UInt64) throws(DeviceLogError) -> Bool {
        try find(IndexSpace.blobs.key(id)) { _ in true } ?? false
    }

    private func find<Value>(
        _ key: [UInt8], _ decode: (UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Value? {
        try key.withBytes { (key) throws(DeviceLogError) in try find(key, decode) }
    }

    private func find<Value>(
        _ key: UnsafeRawBufferPointer, _ decode: (UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Value? {
        let hash = KeyFilter.hash(key)
        return try noting { () throws(DeviceLogError) in
            for run in try version.runs where run.tail.filter.mayContain(hash) {
                switch try run.find(key, decode) {
                case .absent: continue
                case .removed: return nil
                case .value(let value): return value
                }
            }
            return nil
        }
    }

    // MARK: Ranges

    func pending(from first: UInt64, limit: Int) throws(DeviceLogError) -> [(id: UInt64, entry: PendingEntry)] {
        var found: [(id: UInt64, entry: PendingEntry)] = []
        try walk(.pending, from: IndexSpace.pending.key(first)) { (key, value) throws(DeviceLogError) in
            guard found.count < limit else { return false }
            guard key.count == 8, let entry = IndexCoding.pending(value) else { throw .corrupt }
            found.append((id: UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)), entry: entry))
            return true
        }
        return found
    }

    func digestPages(_ visit: (DigestPage) -> Void) throws(DeviceLogError) {
        try walk(.digests, from: [IndexSpace.digests.rawValue]) { (key, value) throws(DeviceLogError) in
            guard let page = IndexCoding.digestPage(value, key: key) else { throw .corrupt }
            visit(page)
            return true
        }
    }

    func scanObjects(from key: ObjectKey, _ visit: (ObjectKey, ObjectEntry) -> Bool) throws(DeviceLogError) {
        try walk(.objects, from: IndexSpace.objects.key(key)) { (key, value) throws(DeviceLogError) in
            guard let object = IndexCoding.objectKey(key), let entry = IndexCoding.object(value) else { throw .corrupt }
            return visit(object, entry)
        }
    }

    func scanTables(from key: TableKey, _ visit: (TableKey, TableState) -> Bool) throws(DeviceLogError) {
        try walk(.tables, from: IndexSpace.tables.key(key)) { (key, value) throws(DeviceLogError) in
            guard let table = IndexCoding.tableKey(key), let state = IndexCoding.table(value) else { throw .corrupt }
            return visit(table, state)
        }
    }

    /// Entries of one space, their keys without its number, until the visit says false.
    func walk(
        _ space: IndexSpace, from start: [UInt8],
        _ visit: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(DeviceLogError) -> Bool
    ) throws(DeviceLogError) {
        try noting { () throws(DeviceLogError) in
            let cursor = MergedCursor(try version.runs)
            try start.withBytes { (start) throws(DeviceLogError) in try cursor.seek(atOrBehind: start) }
            while let entry = cursor.entry, cursor.key[0] == space.rawValue {
                if !entry.isRemoved {
                    let key = cursor.key
                    guard try visit(key.part(1, key.count - 1), entry.value) else { return }
                }
                try cursor.move()
            }
        }
    }

    func scanRows(
        _ table: TableKey, kind: StoredRow.Kind, from start: ScanStart, reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) {
        let space: IndexSpace = kind == .live ? .rows : .deletedRows
        let scan = TableScan(try version.runs, prefix: space.key(table), reverse: reverse)
        try noting { () throws(DeviceLogError) in try scan.run(from: start, visit) }
    }

    // MARK: Damage

    var isDamaged: Bool { damage.load(ordering: .relaxed) }

    func note(_ error: DeviceLogError) {
        if error == .corrupt { damage.store(true, ordering: .relaxed) }
    }

    private func noting<Value>(_ body: () throws(DeviceLogError) -> Value) throws(DeviceLogError) -> Value {
        do { return try body() } catch {
            note(error)
            throw error
        }
    }

    /// So that the next start knows, whatever ends this one.
    func recordDamage() throws(DeviceLogError) {
        guard isDamaged, !isDamageRecorded else { return }
        try commit(version, adding: nil, without: [])
    }

    // MARK: Changes

    func apply(_ changes: IndexChanges) throws(DeviceLogError) {
        catchUp()
        let version = try version
        // What nothing is below of needs no removal.
        let run = try write(limit: changes.entryCount) { (writer) throws(DeviceLogError) in
            try changes.write(to: &writer, keepingRemovals: !version.runs.isEmpty)
        }
        let runs = if let run { [run] + version.runs } else { version.runs }
        try commit(Version(runs: runs, state: changes.state), adding: run, without: [])
    }

    /// Writes a run; nil when nothing was added to it.
    private func write(
        limit: Int, _ body: (inout RunWriter) throws(DeviceLogError) -> Void
    ) throws(DeviceLogError) -> Run? {
        var writer = try beginRun(limit: limit)
        do throws(DeviceLogError) {
            try body(&writer)
            if writer.count > 0 { return try writer.finish() }
        } catch {
            remove(writer.number)
            throw error
        }
        remove(writer.number)
        return nil
    }

    func beginRun(limit: Int) throws(DeviceLogError) -> RunWriter {
        let number = nextRun
        nextRun += 1
        do throws(FileError) {
            let path = Self.path(directory, number)
            try fileSystem.removeIfThere(path)
            return RunWriter(try fileSystem.open(path, .create), number: number, limit: limit, memory: memory)
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// Makes a version the one that counts, and removes runs that it does without.
    func commit(_ version: Version, adding added: Run?, without removed: [UInt64]) throws(DeviceLogError) {
        guard let state = version.state else { return }
        let isDamaged = isDamaged
        let manifest = RunManifest(
            runs: version.runs.map(\.number), nextRun: nextRun, state: state, isDamaged: isDamaged)
        do {
            try manifest.prepare(directory, fileSystem)
        } catch {
            if let added { remove(added.number) }
            throw error
        }
        do {
            try RunManifest.install(directory, fileSystem)
        } catch {
            // A start might find it: until the next one is durable, nothing is removed.
            if let added { obsolete.append(added.number) }
            throw error
        }
        current.withLock { $0 = version }
        isDamageRecorded = isDamaged
        for number in obsolete + removed { remove(number) }
        obsolete.removeAll()
    }

    /// A file that stays is removed by the next start.
    func remove(_ number: UInt64) {
        try? fileSystem.remove(Self.path(directory, number))
    }

    func erase() throws(DeviceLogError) {
        abandonMerges()
        do { try Self.destroy(directory, fileSystem) } catch { throw DeviceLogError(error) }
        current.withLock { $0 = Version(runs: [], state: nil) }
        damage.store(false, ordering: .relaxed)
        isDamageRecorded = false
        sweep(except: [])
    }

    /// Makes the index in a directory none: what is left of it is removed when it is opened.
    static func destroy(_ directory: String, _ fileSystem: any FileSystem) throws(FileError) {
        try fileSystem.removeIfThere(RunManifest.path(directory))
        try fileSystem.syncDirectory(directory)
    }

    func close(erasing: Bool) throws(DeviceLogError) {
        current.withLock { $0 = nil }
        abandonMerges()
        guard erasing else { return }
        do { try Self.destroy(directory, fileSystem) } catch { throw DeviceLogError(error) }
    }

    /// Removes files that no manifest names: of a crash in the middle, or of another format. One that stays does no harm.
    private func sweep(except runs: Set<UInt64>) {
        let known = Set(runs.map { "\($0).run" }).union(["manifest"])
        for name in (try? fileSystem.list(directory)) ?? [] where !known.contains(name) {
            try? fileSystem.remove("\(directory)/\(name)")
        }
    }
}
