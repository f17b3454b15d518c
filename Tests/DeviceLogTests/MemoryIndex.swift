import Synchronization

@testable import DeviceLog

/// An index in memory whose state a test can keep and restore.
final class MemoryIndex: IndexStore {
    /// Everything it holds; a value, so that a test can keep and restore the state of an earlier flush.
    struct Contents: Sendable {
        var state: IndexState?
        var objects: [ObjectKey: ObjectEntry] = [:]
        var rows: [TableKey: [[UInt8]: StoredRow]] = [:]
        var tables: [TableKey: TableState] = [:]
        var pending: [UInt64: PendingEntry] = [:]
        var blobs: Set<UInt64> = []
        var digests: [UInt32: DigestPage] = [:]
    }

    private let contents: Mutex<Contents>

    init(_ contents: Contents = Contents()) {
        self.contents = Mutex(contents)
    }

    var snapshot: Contents { contents.withLock { $0 } }

    func state() -> IndexState? { contents.withLock { $0.state } }
    func object(_ key: ObjectKey) -> ObjectEntry? { contents.withLock { $0.objects[key] } }
    func table(_ key: TableKey) -> TableState? { contents.withLock { $0.tables[key] } }
    func pending(_ id: UInt64) -> PendingEntry? { contents.withLock { $0.pending[id] } }
    func hasBlob(_ id: UInt64) -> Bool { contents.withLock { $0.blobs.contains(id) } }

    func row(_ table: TableKey, _ name: UnsafeRawBufferPointer) -> StoredRow? {
        let name = [UInt8](name)
        return contents.withLock { $0.rows[table]?[name] }
    }

    func pending(from first: UInt64, limit: Int) -> [(id: UInt64, entry: PendingEntry)] {
        snapshot.pending.filter { $0.key >= first }.sorted { $0.key < $1.key }.prefix(limit)
            .map { (id: $0.key, entry: $0.value) }
    }

    func digestPages(_ visit: (DigestPage) -> Void) {
        snapshot.digests.values.forEach(visit)
    }

    func scanObjects(from key: ObjectKey, _ visit: (ObjectKey, ObjectEntry) -> Bool) {
        func isBefore(_ left: ObjectKey, _ right: ObjectKey) -> Bool {
            left.policy != right.policy ? left.policy < right.policy : left.hash < right.hash
        }
        for (found, entry) in snapshot.objects.sorted(by: { isBefore($0.key, $1.key) })
        where !isBefore(found, key) {
            guard visit(found, entry) else { return }
        }
    }

    func scanTables(from key: TableKey, _ visit: (TableKey, TableState) -> Bool) {
        func isBefore(_ left: TableKey, _ right: TableKey) -> Bool {
            left.kind != right.kind ? left.kind.rawValue < right.kind.rawValue : left.hash < right.hash
        }
        for (found, state) in snapshot.tables.sorted(by: { isBefore($0.key, $1.key) }) where !isBefore(found, key) {
            guard visit(found, state) else { return }
        }
    }

    func scanRows(
        _ table: TableKey, kind: StoredRow.Kind, from start: ScanStart, reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) {
        let sorted = SortedRows()
        for (name, row) in snapshot.rows[table] ?? [:] where row.kind == kind {
            sorted.set(name, row, hidesOther: false)
        }
        var start = start
        while let next = sorted.page(from: start, reverse: reverse, limit: 1).first {
            let step = next.name.withUnsafeBytes { name in
                next.row.value.withUnsafeBytes { value in
                    visit(
                        name,
                        RowView(
                            timestamp: next.row.timestamp, bucket: next.row.bucket, bytes: next.row.bytes,
                            count: next.row.count, value: value))
                }
            }
            switch step {
            case .next: start = .after(next.name)
            case .seek(let target): start = isAhead(target, of: next.name, reverse) ? .at(target) : .after(next.name)
            case .stop: return
            }
        }
    }

    func references(to isWanted: (RecordLocation) -> Bool, _ visit: (LogReference) -> Bool) {
        let contents = snapshot
        var found: [LogReference] = []
        for (key, entry) in contents.objects where entry.refers(to: isWanted) { found.append(.object(key)) }
        for (table, rows) in contents.rows {
            for (name, row) in rows where isWanted(row.record) { found.append(.row(table, name: name)) }
        }
        for (table, state) in contents.tables where isWanted(state.infoRecord) { found.append(.info(table)) }
        for (id, entry) in contents.pending where isWanted(entry.record) { found.append(.pending(id)) }
        for reference in found { guard visit(reference) else { return } }
    }

    /// Nothing of it is on a disk.
    func audit(advance: (Int) -> Bool, damaged: (UInt64) -> Void) -> Bool { true }
    var size: Int64 { 0 }

    func apply(_ changes: IndexChanges) {
        contents.withLock { contents in
            contents.state = changes.state
            for slot in changes.layer.objects.sorted() {
                contents.objects[slot.key] = slot.entry.kind == .removed ? nil : slot.entry
            }
            for (table, rows) in changes.layer.rows {
                rows.forEach { contents.rows[table, default: [:]][$0.name] = $0.row }
            }
            contents.tables.merge(changes.layer.tables) { $1 }
            for (id, entry) in changes.layer.pending { contents.pending[id] = entry }
            for (id, isLive) in changes.layer.blobs {
                if isLive { contents.blobs.insert(id) } else { contents.blobs.remove(id) }
            }
            for page in changes.digests {
                contents.digests[UInt32(page.policy) << 16 | UInt32(page.number)] = page
            }
        }
    }

    func erase() { contents.withLock { $0 = Contents() } }
    func tidy(until isDue: () -> Bool) {}
    func close(erasing: Bool) { if erasing { erase() } }
}

/// Whether a seek moves the scan forward; one that does not is a step to the next row.
func isAhead(_ target: [UInt8], of name: [UInt8], _ reverse: Bool) -> Bool {
    let order = target.withUnsafeBytes { target in name.withUnsafeBytes { compare(target, $0) } }
    return reverse ? order < 0 : order > 0
}
