internal import NIOCore
internal import Ring

/// What the index knows of an object. The raw values of `Kind` are on disk.
struct ObjectEntry: Equatable {
    enum Kind: UInt8 {
        case live = 1
        case tombstone = 2
        case quarantined = 3
        /// A forgotten eviction: hides the entry below until the next flush removes it.
        case removed = 4
        /// Was given to the devices that it belongs to, or is a tombstone that all replicas had. Nothing is there, but an older record may be in
        /// the log, where a rebuild would find it: then the entry is forgotten too.
        case evicted = 5
    }

    var kind: Kind
    var timestamp: UInt64
    /// 0 unless live.
    var dataTimestamp: UInt64
    /// The newest record.
    var record: RecordLocation
    /// The record with the body, when that is another one; of a tombstone or an eviction `segment` is where it was first written.
    var data: RecordLocation
    /// Number of the blob with the body, 0 for none.
    var blob: UInt64

    /// Where the body or the description of the blob is.
    var body: RecordLocation { data.length != 0 ? data : record }

    var version: ObjectVersion {
        switch kind {
        case .live: ObjectVersion(kind: .live, timestamp: timestamp, dataTimestamp: dataTimestamp)
        case .tombstone: ObjectVersion(kind: .tombstone, timestamp: timestamp, dataTimestamp: 0)
        case .quarantined: ObjectVersion(kind: .quarantined, timestamp: timestamp, dataTimestamp: 0)
        case .removed, .evicted: .absent
        }
    }
}

/// What the index holds of a row; its record in the log only serves a rebuild.
struct StoredRow: Equatable {
    enum Kind: UInt8 {
        case live = 1
        case deleted = 2
    }

    var timestamp: UInt64
    var kind: Kind
    var bucket: UInt8
    var bytes: Int64
    var count: Int64
    var record: RecordLocation
    var value: [UInt8]

    func row(named name: [UInt8]) -> Row {
        Row(
            name: name, timestamp: timestamp, deleted: kind == .deleted, bucket: bucket, bytes: bytes, count: count,
            value: ByteBuffer(bytes: value))
    }
}

/// Info and sums of a table.
struct TableState: Equatable {
    var info: [UInt8]?
    var infoRecord = RecordLocation.none
    var stats = TableStats()
}

/// An update that waits.
struct PendingEntry: Equatable {
    var record: RecordLocation
    var payload: [UInt8]
}

/// What the index as a whole stands for; stored with each flush.
struct IndexState: Equatable {
    /// Everything before it is in the index.
    var covered = LogPosition.start
    /// Number of the newest batch before `covered`.
    var batch: UInt64 = 0
    /// The oldest object write whose `confirm` was missing at the time; `covered` when there is none.
    var unconfirmed = LogPosition.start
    var nextPending: UInt64 = 1
    var counters = Counters()
    /// Bytes of live records by segment.
    var liveBytes: [UInt32: Int64] = [:]
}

/// Sums over the index.
struct Counters: Equatable {
    var objects: Int64 = 0
    var tombstones: Int64 = 0
    var rows: Int64 = 0
    var quarantined: Int64 = 0
    /// Stretches of the log that were lost in a rebuild without knowing whose records they held.
    var unidentifiedLosses: Int64 = 0

    mutating func add(_ kind: ObjectEntry.Kind, _ sign: Int64) {
        switch kind {
        case .live: objects += sign
        case .tombstone: tombstones += sign
        case .quarantined: quarantined += sign
        case .removed, .evicted: break
        }
    }
}
