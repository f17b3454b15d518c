/// What kinds of entries the runs hold. The number is the first byte of a key and on disk.
enum IndexSpace: UInt8 {
    case objects = 1
    case rows = 2
    /// Rows that were deleted are apart, so that a listing never steps over them.
    case deletedRows = 3
    case tables = 4
    case pending = 5
    case blobs = 6
    case digests = 7

    func key(_ object: ObjectKey) -> [UInt8] {
        var key = [UInt8](repeating: rawValue, count: 1 + IndexCoding.objectKeySize)
        key.withUnsafeMutableBytes { IndexCoding.key(object, to: $0.baseAddress! + 1) }
        return key
    }

    func key(_ table: TableKey) -> [UInt8] {
        var key = [UInt8](repeating: rawValue, count: 1 + IndexCoding.tableKeySize)
        key.withUnsafeMutableBytes { IndexCoding.key(table, to: $0.baseAddress! + 1) }
        return key
    }

    /// Calls with the key of a row, without an allocation for names of usual length.
    func withKey<Value, Failure: Error>(
        _ table: TableKey, _ name: UnsafeRawBufferPointer,
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let prefix = 1 + IndexCoding.tableKeySize
        return try withUnsafeTemporaryBytes(prefix + name.count) { (bytes) throws(Failure) in
            bytes[0] = rawValue
            IndexCoding.key(table, to: bytes.baseAddress! + 1)
            if let start = name.baseAddress {
                (bytes.baseAddress! + prefix).copyMemory(from: start, byteCount: name.count)
            }
            return try body(bytes)
        }
    }

    func key(_ number: UInt64) -> [UInt8] {
        [rawValue] + withUnsafeBytes(of: number.bigEndian) { [UInt8]($0) }
    }
}

extension IndexChanges {
    /// At least as many entries as `write` adds.
    var entryCount: Int {
        layer.objects.count + 2 * layer.rowCount + layer.tables.count + layer.pending.count + layer.blobs.count
            + digests.count
    }

    /// Adds everything in the order of the keys.
    ///
    /// - Parameter keepingRemovals: false when there is nothing below that could be removed.
    func write(to writer: inout RunWriter, keepingRemovals: Bool) throws(DeviceLogError) {
        try writeObjects(to: &writer, keepingRemovals)
        let tables = layer.rows.sorted { left, right in
            left.key.kind != right.key.kind
                ? left.key.kind.rawValue < right.key.kind.rawValue : left.key.hash < right.key.hash
        }.map { (key: $0.key, rows: $0.value.inOrder()) }
        try writeRows(tables, .rows, of: .live, to: &writer, keepingRemovals)
        try writeRows(tables, .deletedRows, of: .deleted, to: &writer, keepingRemovals)

        var entries: [(key: [UInt8], value: [UInt8]?)] = []
        for (key, state) in layer.tables { entries.append((IndexSpace.tables.key(key), IndexCoding.encode(state))) }
        for (id, entry) in layer.pending {
            entries.append((IndexSpace.pending.key(id), entry.map { IndexCoding.encode($0) }))
        }
        for (id, isLive) in layer.blobs { entries.append((IndexSpace.blobs.key(id), isLive ? [] : nil)) }
        for page in digests {
            let key = [IndexSpace.digests.rawValue, page.policy, UInt8(page.number >> 8), UInt8(page.number & 0xFF)]
            entries.append((key, IndexCoding.encode(page)))
        }
        entries.sort { $0.key.lexicographicallyPrecedes($1.key) }
        for (key, value) in entries where value != nil || keepingRemovals {
            try key.withBytes { (key) throws(DeviceLogError) in
                try (value ?? []).withBytes { (bytes) throws(DeviceLogError) in
                    try writer.add(key, bytes, isRemoved: value == nil)
                }
            }
        }
    }

    private func writeObjects(to writer: inout RunWriter, _ keepingRemovals: Bool) throws(DeviceLogError) {
        try withUnsafeTemporaryBytes(80) { (bytes) throws(DeviceLogError) in
            let key = UnsafeRawBufferPointer(bytes).part(0, 1 + IndexCoding.objectKeySize)
            bytes[0] = IndexSpace.objects.rawValue
            for slot in layer.objects.sorted() {
                let isRemoved = slot.entry.kind == .removed
                if isRemoved, !keepingRemovals { continue }
                IndexCoding.key(slot.key, to: bytes.baseAddress! + 1)
                let length = isRemoved ? 0 : IndexCoding.encode(slot.entry, to: bytes.baseAddress! + 24)
                try writer.add(key, UnsafeRawBufferPointer(bytes).part(24, length), isRemoved: isRemoved)
            }
        }
    }

    /// Rows of one kind, and removals of those that were of this kind before.
    private func writeRows(
        _ tables: [(key: TableKey, rows: [SortedRows.Element])], _ space: IndexSpace, of kind: StoredRow.Kind,
        to writer: inout RunWriter, _ keepingRemovals: Bool
    ) throws(DeviceLogError) {
        var bytes: [UInt8] = []
        for (table, rows) in tables {
            let prefix = space.key(table)
            for element in rows {
                let isRemoved = element.row.kind != kind
                if isRemoved, !(keepingRemovals && element.hidesOther) { continue }
                bytes.removeAll(keepingCapacity: true)
                bytes.append(contentsOf: prefix)
                bytes.append(contentsOf: element.name)
                let keyLength = bytes.count
                if !isRemoved { IndexCoding.append(element.row, to: &bytes) }
                try bytes.withBytes { (bytes) throws(DeviceLogError) in
                    try writer.add(
                        bytes.part(0, keyLength), bytes.part(keyLength, bytes.count - keyLength), isRemoved: isRemoved)
                }
            }
        }
    }
}
