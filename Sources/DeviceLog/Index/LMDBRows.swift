internal import CLMDB
internal import Ring

/// The rows of one table in one database and one transaction.
///
/// LMDB's keys end at 511 bytes, names do not: names that are longer than `directName` and begin with the same bytes
/// share one entry, a list in the order of the names. Its key is one byte longer than the longest direct key, so that
/// the order of the keys is the order of the names.
struct LMDBRows {
    static let directName = 480

    private let transaction: OpaquePointer
    private let database: MDB_dbi
    private let prefix: [UInt8]

    init(_ transaction: OpaquePointer, _ database: MDB_dbi, _ table: TableKey) {
        self.transaction = transaction
        self.database = database
        prefix = IndexCoding.key(table)
    }

    func get(_ name: UnsafeRawBufferPointer) throws(DeviceLogError) -> StoredRow? {
        try entryKey(name).withBytes { (key) throws(DeviceLogError) in
            guard let value = try LMDB.get(transaction, database, key) else { return nil }
            var row = value
            if name.count > Self.directName {
                guard let found = try LongNames.decode(value).first(where: { compare($0.name, name) == 0 }) else {
                    return nil
                }
                row = found.value
            }
            let fullKey = prefix + name
            guard let stored = fullKey.withUnsafeBytes({ IndexCoding.row(row, key: $0) }) else { throw .corrupt }
            return stored
        }
    }

    /// Puts the rows of one kind, takes out the others. `changed` is in the order of names.
    func merge(_ changed: [SortedRows.Element], keeping kind: StoredRow.Kind) throws(DeviceLogError) {
        // Mostly nothing was deleted: then there is nothing to take out.
        if try isEmpty(), !changed.contains(where: { $0.row.kind == kind }) { return }
        var buffer: [UInt8] = []
        var index = 0
        while index < changed.count {
            let element = changed[index]
            guard element.name.count > Self.directName else {
                try merge(element, keeping: kind, into: &buffer)
                index += 1
                continue
            }
            var run: [SortedRows.Element] = []
            while index < changed.count, changed[index].name.count > Self.directName,
                changed[index].name.starts(with: element.name[..<Self.directName])
            {
                run.append(changed[index])
                index += 1
            }
            try merge(long: run, keeping: kind)
        }
    }

    private func merge(
        _ element: SortedRows.Element, keeping kind: StoredRow.Kind, into buffer: inout [UInt8]
    ) throws(DeviceLogError) {
        buffer.removeAll(keepingCapacity: true)
        buffer += prefix
        buffer += element.name
        let keyLength = buffer.count
        if element.row.kind == kind { IndexCoding.append(element.row, keyLength: keyLength, to: &buffer) }
        try buffer.withBytes { (bytes) throws(DeviceLogError) in
            let key = bytes.part(0, keyLength)
            if element.row.kind == kind {
                try LMDB.put(transaction, database, key, bytes.part(keyLength, bytes.count - keyLength))
            } else {
                try LMDB.remove(transaction, database, key)
            }
        }
    }

    /// Whether the table has rows in this database.
    private func isEmpty() throws(DeviceLogError) -> Bool {
        let cursor = try LMDBCursor(transaction, database)
        guard let (key, _) = try cursor.seek(prefix), key.count >= prefix.count else { return true }
        return prefix.withUnsafeBytes { compare(key.part(0, prefix.count), $0) != 0 }
    }

    private func merge(long run: [SortedRows.Element], keeping kind: StoredRow.Kind) throws(DeviceLogError) {
        let key = run[0].name.withUnsafeBytes { entryKey($0) }
        let merged = try key.withBytes { (key) throws(DeviceLogError) in
            let old = try LMDB.get(transaction, database, key)
            return try LongNames.merge(old, run, keeping: kind, table: prefix)
        }
        if merged.isEmpty {
            try key.withBytes { (key) throws(DeviceLogError) in
                try LMDB.remove(transaction, database, key)
            }
        } else {
            try LMDB.put(transaction, database, key, merged)
        }
    }

    // MARK: Scan

    /// Where a scan stands: names on the wrong side of it are passed over.
    private struct Bound {
        var name: [UInt8]
        var isIncluded: Bool

        func admits(_ name: UnsafeRawBufferPointer, reverse: Bool) -> Bool {
            let order = self.name.withUnsafeBytes { compare(name, $0) }
            return order == 0 ? isIncluded : reverse ? order < 0 : order > 0
        }
    }

    func scan(
        from start: ScanStart, reverse: Bool, _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) {
        var bound: Bound?
        switch start {
        case .first: break
        case .at(let name): bound = Bound(name: name, isIncluded: true)
        case .after(let name): bound = Bound(name: name, isIncluded: false)
        }
        let cursor = try LMDBCursor(transaction, database)
        var entry = try position(cursor, bound, reverse)
        while let (key, value) = entry, key.count >= prefix.count,
            prefix.withUnsafeBytes({ compare(key.part(0, prefix.count), $0) == 0 })
        {
            switch try visitEntry(key, value, bound, reverse, visit) {
            case .next:
                entry = try cursor.move(reverse ? MDB_PREV : MDB_NEXT)
            case .seek(let target):
                bound = Bound(name: target, isIncluded: true)
                entry = try position(cursor, bound, reverse)
            case .stop:
                return
            }
        }
    }

    private func position(
        _ cursor: borrowing LMDBCursor, _ bound: Bound?, _ reverse: Bool
    ) throws(DeviceLogError) -> LMDBCursor.Entry? {
        if let bound {
            let found = try cursor.seek(bound.name.withUnsafeBytes { entryKey($0) })
            return found == nil && reverse ? try cursor.move(MDB_LAST) : found ?? nil
        }
        guard reverse else { return try cursor.seek(prefix) }
        let behind = try Self.successor(prefix).map { (key) throws(DeviceLogError) in try cursor.seek(key) } ?? nil
        return try cursor.move(behind == nil ? MDB_LAST : MDB_PREV)
    }

    /// One row, or all of a list; a seek inside the list does not leave it.
    private func visitEntry(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ bound: Bound?, _ reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) -> ScanStep {
        guard key.count - prefix.count > Self.directName else {
            let name = key.part(prefix.count, key.count - prefix.count)
            if let bound, !bound.admits(name, reverse: reverse) {
                // A reverse scan is positioned at or behind its bound, so that only its first entry can be passed over.
                return .next
            }
            return try visitRow(name, value, reverse, visit)
        }
        var bound = bound
        var rows = try LongNames.decode(value)
        if reverse { rows.reverse() }
        for row in rows {
            if let bound, !bound.admits(row.name, reverse: reverse) { continue }
            switch try visitRow(row.name, row.value, reverse, visit) {
            case .next: continue
            case .seek(let target):
                guard let last = rows.last, compareOrder(last.name, target, reverse) >= 0 else {
                    return .seek(to: target)
                }
                bound = Bound(name: target, isIncluded: true)
            case .stop: return .stop
            }
        }
        return .next
    }

    private func visitRow(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ reverse: Bool,
        _ visit: (UnsafeRawBufferPointer, borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) -> ScanStep {
        let step: ScanStep? = prefix.withUnsafeBytes { table in
            guard let view = IndexCoding.rowView(value, table: table, name: name) else { return nil }
            return visit(name, view)
        }
        guard let step else { throw .corrupt }
        if case .seek(let target) = step, compareOrder(name, target, reverse) >= 0 { return .next }
        return step
    }

    /// Order in the direction of the scan.
    private func compareOrder(_ name: UnsafeRawBufferPointer, _ target: [UInt8], _ reverse: Bool) -> Int {
        let order = target.withUnsafeBytes { compare(name, $0) }
        return reverse ? -order : order
    }

    private func entryKey(_ name: UnsafeRawBufferPointer) -> [UInt8] {
        guard name.count > Self.directName else { return prefix + name }
        return prefix + name[..<Self.directName] + [1]
    }

    /// The smallest key behind all that begin with `prefix`.
    private static func successor(_ prefix: [UInt8]) -> [UInt8]? {
        var key = prefix
        while let last = key.last {
            if last < 0xFF {
                key[key.count - 1] = last + 1
                return key
            }
            key.removeLast()
        }
        return nil
    }
}

/// The list of rows whose long names begin alike: length of name, length of value, name, value, and so on.
enum LongNames {
    typealias Entry = (name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)

    static func decode(_ list: UnsafeRawBufferPointer) throws(DeviceLogError) -> [Entry] {
        var reader = ByteReader(list)
        var entries: [Entry] = []
        while reader.remaining > 0 {
            guard let nameLength = reader.next(UInt32.self), let valueLength = reader.next(UInt32.self),
                let name = reader.next(count: Int(nameLength)), let value = reader.next(count: Int(valueLength))
            else { throw .corrupt }
            entries.append((name, value))
        }
        return entries
    }

    static func merge(
        _ old: UnsafeRawBufferPointer?, _ changed: [SortedRows.Element], keeping kind: StoredRow.Kind, table: [UInt8]
    ) throws(DeviceLogError) -> [UInt8] {
        let entries: [Entry] = if let old { try decode(old) } else { [] }
        var merged: [UInt8] = []
        func append(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            merged.append(little: UInt32(name.count))
            merged.append(little: UInt32(value.count))
            merged.append(contentsOf: name)
            merged.append(contentsOf: value)
        }
        var next = entries.startIndex
        for element in changed {
            element.name.withUnsafeBytes { name in
                while next < entries.endIndex, compare(entries[next].name, name) < 0 {
                    append(entries[next].name, entries[next].value)
                    next += 1
                }
                if next < entries.endIndex, compare(entries[next].name, name) == 0 { next += 1 }
                guard element.row.kind == kind else { return }
                IndexCoding.encode(element.row, key: table + element.name).withUnsafeBytes { append(name, $0) }
            }
        }
        for entry in entries[next...] { append(entry.name, entry.value) }
        return merged
    }
}
