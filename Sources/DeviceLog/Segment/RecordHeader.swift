internal import Ring

/// What a record says. The raw values are on disk.
enum RecordKind: UInt8 {
    /// Metadata and body, or metadata and the description of a blob.
    case put = 1
    case tombstone = 2
    /// New metadata for the body that came at `dataTimestamp`.
    case metadata = 3
    case row = 4
    case tableInfo = 5
    case pending = 6
    case pendingDone = 7
    /// The bytes of the object with this timestamp are damaged on this device.
    case quarantine = 8
    /// The object with this timestamp was given to the devices that it belongs to.
    case eviction = 9
}

/// The fixed start of a record; `Documentation/formats/device-log.md` has the layout.
///
/// It names its own segment and offset, so that what is left in a recycled segment, or a misplaced write, is never
/// taken for a record of the present.
struct RecordHeader: Equatable {
    static let size = 104
    static let magic: UInt32 = 0x4F44_4652  // "RFDO"
    static let version: UInt8 = 1
    /// The body is a blob's description.
    static let flagBlob: UInt8 = 1
    /// Written by compaction or by a replicator, not by a client.
    static let flagRelocated: UInt8 = 2
    static let flagDeleted: UInt8 = 4

    var kind: RecordKind
    /// Storage policy of an object, kind of a table.
    var space: UInt8 = 0
    var flags: UInt8 = 0
    var segment: UInt32 = 0
    var offset: UInt32 = 0
    /// Of the whole record with its padding: a multiple of 8.
    var length: UInt32 = 0
    /// Bytes from the start of the batch to this record.
    var batchOffset: UInt32 = 0
    var batch: UInt64 = 0
    var hash = PathHash(high: 0, low: 0)
    var timestamp: UInt64 = 0
    var dataTimestamp: UInt64 = 0
    /// Metadata of an object, name of a row.
    var metadataLength: UInt32 = 0
    /// Bytes behind the metadata.
    var bodyLength: UInt32 = 0
    /// Length of the object's body, also when it is a blob.
    var bodyTotal: UInt64 = 0
    /// Number of the blob; of a tombstone or an eviction the segment it was first written to; of a pending update its number.
    var reference: UInt64 = 0
    var metadataChecksum: UInt32 = 0
    var bodyChecksum: UInt32 = 0

    init(kind: RecordKind) {
        self.kind = kind
    }

    static func recordLength(metadata: Int, body: Int) -> Int {
        (size + metadata + body + 7) & ~7
    }

    func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(Self.magic, at: 0)
        bytes.put(Self.version, at: 4)
        bytes.put(kind.rawValue, at: 5)
        bytes.put(space, at: 6)
        bytes.put(flags, at: 7)
        bytes.put(segment, at: 8)
        bytes.put(offset, at: 12)
        bytes.put(length, at: 16)
        bytes.put(batchOffset, at: 20)
        bytes.put(batch, at: 24)
        bytes.put(hash.high, at: 32)
        bytes.put(hash.low, at: 40)
        bytes.put(timestamp, at: 48)
        bytes.put(dataTimestamp, at: 56)
        bytes.put(metadataLength, at: 64)
        bytes.put(bodyLength, at: 68)
        bytes.put(bodyTotal, at: 72)
        bytes.put(reference, at: 80)
        bytes.put(metadataChecksum, at: 88)
        bytes.put(bodyChecksum, at: 92)
        bytes.put(UInt32(0), at: 96)
        bytes.put(CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 100)), at: 100)
    }

    /// Nil unless `bytes`, of which there are at least `size`, are an intact header for this place.
    init?(_ bytes: UnsafeRawPointer, segment: UInt32, offset: UInt32) {
        guard bytes.get(UInt32.self, at: 0) == Self.magic, bytes.get(UInt8.self, at: 4) == Self.version,
            bytes.get(UInt32.self, at: 8) == segment, bytes.get(UInt32.self, at: 12) == offset,
            CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 100)) == bytes.get(UInt32.self, at: 100),
            let kind = RecordKind(rawValue: bytes.get(UInt8.self, at: 5))
        else { return nil }
        self.kind = kind
        space = bytes.get(UInt8.self, at: 6)
        flags = bytes.get(UInt8.self, at: 7)
        self.segment = segment
        self.offset = offset
        length = bytes.get(UInt32.self, at: 16)
        batchOffset = bytes.get(UInt32.self, at: 20)
        batch = bytes.get(UInt64.self, at: 24)
        hash = PathHash(high: bytes.get(UInt64.self, at: 32), low: bytes.get(UInt64.self, at: 40))
        timestamp = bytes.get(UInt64.self, at: 48)
        dataTimestamp = bytes.get(UInt64.self, at: 56)
        metadataLength = bytes.get(UInt32.self, at: 64)
        bodyLength = bytes.get(UInt32.self, at: 68)
        bodyTotal = bytes.get(UInt64.self, at: 72)
        reference = bytes.get(UInt64.self, at: 80)
        metadataChecksum = bytes.get(UInt32.self, at: 88)
        bodyChecksum = bytes.get(UInt32.self, at: 92)
        guard length >= UInt32(Self.size), length % 8 == 0,
            Int(length) == Self.recordLength(metadata: Int(metadataLength), body: Int(bodyLength))
        else { return nil }
    }

    var position: LogPosition { LogPosition(segment: segment, offset: offset) }
    var location: RecordLocation { RecordLocation(segment: segment, offset: offset, length: length) }
    var objectKey: ObjectKey { ObjectKey(policy: space, hash: hash) }
    var end: UInt32 { offset + length }

    /// Whether what follows the header is what was written.
    func verifies(content: UnsafeRawBufferPointer) -> Bool {
        let metadata = Int(metadataLength)
        let body = Int(bodyLength)
        return content.count >= metadata + body
            && CRC32C.checksum(content.part(0, metadata)) == metadataChecksum
            && CRC32C.checksum(content.part(metadata, body)) == bodyChecksum
    }
}

/// A record's place in the log; a length of 0 means none.
struct RecordLocation: Hashable {
    static let none = RecordLocation(segment: 0, offset: 0, length: 0)

    var segment: UInt32
    var offset: UInt32
    var length: UInt32

    var position: LogPosition { LogPosition(segment: segment, offset: offset) }
}
