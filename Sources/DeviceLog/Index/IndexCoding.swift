internal import Ring

/// The form of keys and values in the index; `Documentation/formats/device-log.md` has the layouts. The blocks
/// that they lie in are verified when they are read.
enum IndexCoding {
    static let formatVersion: UInt32 = 2
    static let objectKeySize = 17
    static let tableKeySize = 17

    // MARK: Keys

    static func key(_ key: ObjectKey, to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: key.policy, as: UInt8.self)
        bytes.storeBytes(of: key.hash.high.bigEndian, toByteOffset: 1, as: UInt64.self)
        bytes.storeBytes(of: key.hash.low.bigEndian, toByteOffset: 9, as: UInt64.self)
    }

    static func key(_ table: TableKey, to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: table.kind.rawValue, as: UInt8.self)
        bytes.storeBytes(of: table.hash.high.bigEndian, toByteOffset: 1, as: UInt64.self)
        bytes.storeBytes(of: table.hash.low.bigEndian, toByteOffset: 9, as: UInt64.self)
    }

    static func objectKey(_ bytes: UnsafeRawBufferPointer) -> ObjectKey? {
        guard bytes.count == objectKeySize else { return nil }
        let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 9, as: UInt64.self))
        return ObjectKey(policy: bytes[0], hash: PathHash(high: high, low: low))
    }

    // MARK: Objects

    /// At most.
    static let objectSize = 49
    /// Kind, timestamp and place: all that most objects need.
    private static let shortObject = 21
    private static let kindMask: UInt8 = 0x07
    /// The data timestamp is the timestamp. Without this and the next one it is 0.
    private static let sameDataTimestamp: UInt8 = 0x08
    private static let hasDataTimestamp: UInt8 = 0x10
    private static let hasData: UInt8 = 0x20
    private static let hasBlob: UInt8 = 0x40
    /// Only what the flags say is there; without this flag everything is, and no other one is set: format 1.
    private static let isShort: UInt8 = 0x80

    /// Returns how many bytes it takes.
    static func encode(_ entry: ObjectEntry, to bytes: UnsafeMutableRawPointer) -> Int {
        var flags = entry.kind.rawValue | isShort
        bytes.put(entry.timestamp, at: 1)
        put(entry.record, to: bytes, at: 9)
        var end = shortObject
        if entry.dataTimestamp == entry.timestamp {
            flags |= sameDataTimestamp
        } else if entry.dataTimestamp != 0 {
            flags |= hasDataTimestamp
            bytes.put(entry.dataTimestamp, at: end)
            end += 8
        }
        if entry.data != .none {
            flags |= hasData
            put(entry.data, to: bytes, at: end)
            end += 12
        }
        if entry.blob != 0 {
            flags |= hasBlob
            bytes.put(entry.blob, at: end)
            end += 8
        }
        bytes.put(flags, at: 0)
        return end
    }

    /// Nil when damaged.
    static func object(_ value: UnsafeRawBufferPointer) -> ObjectEntry? {
        guard value.count >= shortObject, let bytes = value.baseAddress else { return nil }
        let flags = value[0]
        guard flags & isShort != 0 else { return objectOfFormat1(value) }
        guard let kind = ObjectEntry.Kind(rawValue: flags & kindMask) else { return nil }
        var entry = ObjectEntry(
            kind: kind, timestamp: bytes.get(UInt64.self, at: 1), dataTimestamp: 0, record: location(bytes, at: 9),
            data: .none, blob: 0)
        let length =
            shortObject + (flags & hasDataTimestamp != 0 ? 8 : 0) + (flags & hasData != 0 ? 12 : 0)
            + (flags & hasBlob != 0 ? 8 : 0)
        guard value.count == length else { return nil }
        var place = shortObject
        if flags & sameDataTimestamp != 0 { entry.dataTimestamp = entry.timestamp }
        if flags & hasDataTimestamp != 0 {
            entry.dataTimestamp = bytes.get(UInt64.self, at: place)
            place += 8
        }
        if flags & hasData != 0 {
            entry.data = location(bytes, at: place)
            place += 12
        }
        if flags & hasBlob != 0 { entry.blob = bytes.get(UInt64.self, at: place) }
        return entry
    }

    private static func objectOfFormat1(_ value: UnsafeRawBufferPointer) -> ObjectEntry? {
        guard value.count == objectSize, let bytes = value.baseAddress, let kind = ObjectEntry.Kind(rawValue: value[0])
        else { return nil }
        return ObjectEntry(
            kind: kind, timestamp: bytes.get(UInt64.self, at: 1), dataTimestamp: bytes.get(UInt64.self, at: 9),
            record: location(bytes, at: 17), data: location(bytes, at: 29), blob: bytes.get(UInt64.self, at: 41))
    }

    // MARK: Rows

    /// Bytes before the value of a row.
    static let rowFixed = 38

    static func append(_ row: StoredRow, to bytes: inout [UInt8]) {
        bytes.append(row.kind.rawValue)
        bytes.append(row.bucket)
        bytes.append(little: row.timestamp)
        bytes.append(little: row.bytes)
        bytes.append(little: row.count)
        append(row.record, to: &bytes)
        bytes.append(contentsOf: row.value)
    }

    /// Nil when damaged.
    static func row(_ value: UnsafeRawBufferPointer) -> StoredRow? {
        guard value.count >= rowFixed, let bytes = value.baseAddress, let kind = StoredRow.Kind(rawValue: value[0])
        else { return nil }
        return StoredRow(
            timestamp: bytes.get(UInt64.self, at: 2), kind: kind, bucket: value[1],
            bytes: bytes.get(Int64.self, at: 10), count: bytes.get(Int64.self, at: 18),
            record: location(bytes, at: 26), value: [UInt8](value[rowFixed...]))
    }

    /// As `row`, without a copy.
    static func rowView(_ value: UnsafeRawBufferPointer) -> RowView? {
        guard value.count >= rowFixed, let bytes = value.baseAddress else { return nil }
        return RowView(
            timestamp: bytes.get(UInt64.self, at: 2), bucket: value[1], bytes: bytes.get(Int64.self, at: 10),
            count: bytes.get(Int64.self, at: 18), value: value.part(rowFixed, value.count - rowFixed))
    }

    // MARK: Tables, pending updates, state

    static func encode(_ table: TableState) -> [UInt8] {
        var bytes: [UInt8] = []
        append(table.infoRecord, to: &bytes)
        bytes.append(table.info == nil ? 0 : 1)
        bytes.append(UInt8(truncatingIfNeeded: table.stats.buckets.count & 0xFF))
        bytes.append(UInt8(truncatingIfNeeded: table.stats.buckets.count >> 8))
        for (bucket, totals) in table.stats.buckets {
            bytes.append(bucket)
            bytes.append(little: totals.rows)
            bytes.append(little: totals.bytes)
            bytes.append(little: totals.count)
        }
        bytes.append(little: table.stats.digest)
        bytes.append(little: table.stats.lastChange)
        bytes.append(contentsOf: table.info ?? [])
        return bytes
    }

    static func table(_ value: UnsafeRawBufferPointer) -> TableState? {
        var reader = ByteReader(value)
        guard let record = location(&reader), let hasInfo = reader.next(UInt8.self),
            let count = reader.next(UInt16.self)
        else { return nil }
        var state = TableState(infoRecord: record)
        for _ in 0..<count {
            guard let bucket = reader.next(UInt8.self), let rows = reader.next(Int64.self),
                let bytes = reader.next(Int64.self), let sum = reader.next(Int64.self)
            else { return nil }
            var totals = TableStats.Totals()
            totals.rows = rows
            totals.bytes = bytes
            totals.count = sum
            state.stats[bucket] = totals
        }
        guard let digest = reader.next(UInt64.self), let lastChange = reader.next(UInt64.self) else { return nil }
        state.stats.digest = digest
        state.stats.lastChange = lastChange
        if hasInfo != 0 { state.info = reader.next(count: reader.remaining).map { [UInt8]($0) } }
        return state
    }

    static func encode(_ entry: PendingEntry) -> [UInt8] {
        var bytes: [UInt8] = []
        append(entry.record, to: &bytes)
        bytes.append(contentsOf: entry.payload)
        return bytes
    }

    static func pending(_ value: UnsafeRawBufferPointer) -> PendingEntry? {
        var reader = ByteReader(value)
        guard let record = location(&reader), let payload = reader.next(count: reader.remaining) else { return nil }
        return PendingEntry(record: record, payload: [UInt8](payload))
    }

    static func encode(_ state: IndexState) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: formatVersion)
        bytes.append(little: state.covered.rawValue)
        bytes.append(little: state.batch)
        bytes.append(little: state.unconfirmed.rawValue)
        bytes.append(little: state.nextPending)
        for value in [
            state.counters.objects, state.counters.tombstones, state.counters.rows, state.counters.quarantined,
            state.counters.unidentifiedLosses,
        ] { bytes.append(little: value) }
        bytes.append(little: UInt32(state.liveBytes.count))
        for (segment, live) in state.liveBytes.sorted(by: { $0.key < $1.key }) {
            bytes.append(little: segment)
            bytes.append(little: live)
        }
        return bytes
    }

    static func state(_ value: UnsafeRawBufferPointer) -> IndexState? {
        var reader = ByteReader(value)
        guard reader.next(UInt32.self) == formatVersion, let covered = reader.next(UInt64.self),
            let batch = reader.next(UInt64.self), let unconfirmed = reader.next(UInt64.self),
            let nextPending = reader.next(UInt64.self),
            let objects = reader.next(Int64.self), let tombstones = reader.next(Int64.self),
            let rows = reader.next(Int64.self), let quarantined = reader.next(Int64.self),
            let losses = reader.next(Int64.self), let segments = reader.next(UInt32.self)
        else { return nil }
        var state = IndexState(
            covered: LogPosition(rawValue: covered), batch: batch, unconfirmed: LogPosition(rawValue: unconfirmed),
            nextPending: nextPending)
        state.counters = Counters(
            objects: objects, tombstones: tombstones, rows: rows, quarantined: quarantined,
            unidentifiedLosses: losses)
        for _ in 0..<segments {
            guard let segment = reader.next(UInt32.self), let live = reader.next(Int64.self) else { return nil }
            state.liveBytes[segment] = live
        }
        return state
    }

    static func encode(_ page: DigestPage) -> [UInt8] {
        var bytes: [UInt8] = []
        for value in page.values { bytes.append(little: value) }
        return bytes
    }

    static func digestPage(_ value: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer) -> DigestPage? {
        guard key.count == 3, value.count == DigestPage.buckets * 8, let bytes = value.baseAddress else { return nil }
        let values = (0..<DigestPage.buckets).map { bytes.get(UInt64.self, at: $0 * 8) }
        return DigestPage(policy: key[0], number: UInt16(key[1]) << 8 | UInt16(key[2]), values: values)
    }

    // MARK: Parts

    static func tableKey(_ bytes: UnsafeRawBufferPointer) -> TableKey? {
        guard bytes.count >= tableKeySize, let kind = TableKind(rawValue: bytes[0]) else { return nil }
        let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 9, as: UInt64.self))
        return TableKey(kind: kind, hash: PathHash(high: high, low: low))
    }

    /// The record of a row, without the rest of it.
    static func rowRecord(_ value: UnsafeRawBufferPointer) -> RecordLocation? {
        guard value.count >= rowFixed, let bytes = value.baseAddress else { return nil }
        return location(bytes, at: 26)
    }

    /// The record of a table's info or of a pending update, which both begin with it.
    static func leadingRecord(_ value: UnsafeRawBufferPointer) -> RecordLocation? {
        guard value.count >= 12, let bytes = value.baseAddress else { return nil }
        return location(bytes, at: 0)
    }

    private static func put(_ location: RecordLocation, to bytes: UnsafeMutableRawPointer, at offset: Int) {
        bytes.put(location.segment, at: offset)
        bytes.put(location.offset, at: offset + 4)
        bytes.put(location.length, at: offset + 8)
    }

    private static func append(_ location: RecordLocation, to bytes: inout [UInt8]) {
        bytes.append(little: location.segment)
        bytes.append(little: location.offset)
        bytes.append(little: location.length)
    }

    private static func location(_ bytes: UnsafeRawPointer, at offset: Int) -> RecordLocation {
        RecordLocation(
            segment: bytes.get(UInt32.self, at: offset), offset: bytes.get(UInt32.self, at: offset + 4),
            length: bytes.get(UInt32.self, at: offset + 8))
    }

    private static func location(_ reader: inout ByteReader) -> RecordLocation? {
        guard let segment = reader.next(UInt32.self), let offset = reader.next(UInt32.self),
            let length = reader.next(UInt32.self)
        else { return nil }
        return RecordLocation(segment: segment, offset: offset, length: length)
    }
}
