/// The first block of a segment file. It also says where the segment before it ends, because nothing is ever changed
/// in a segment that is left: not even what a crash tore at its end.
struct SegmentHeader: Equatable {
    static let size = 64
    static let magic: UInt32 = 0x5344_4652  // "RFDS"
    static let version: UInt32 = 1

    var segment: UInt32
    /// 0 for the first segment.
    var previousSegment: UInt32
    /// Byte offset behind the last record of the previous segment that counts.
    var previousEnd: UInt32
    /// Number of the first batch in this segment.
    var firstBatch: UInt64

    func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
        bytes.put(Self.magic, at: 0)
        bytes.put(Self.version, at: 4)
        bytes.put(segment, at: 8)
        bytes.put(previousSegment, at: 12)
        bytes.put(previousEnd, at: 16)
        bytes.put(firstBatch, at: 24)
        bytes.put(CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)), at: 60)
    }
}

extension SegmentHeader {
    /// Nil unless `bytes`, of which there are at least `size`, are the intact header of this segment.
    init?(_ bytes: UnsafeRawPointer, segment: UInt32) {
        guard bytes.get(UInt32.self, at: 0) == Self.magic, bytes.get(UInt32.self, at: 4) == Self.version,
            bytes.get(UInt32.self, at: 8) == segment,
            CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)) == bytes.get(UInt32.self, at: 60)
        else { return nil }
        self.init(
            segment: segment, previousSegment: bytes.get(UInt32.self, at: 12),
            previousEnd: bytes.get(UInt32.self, at: 16), firstBatch: bytes.get(UInt64.self, at: 24))
    }
}
