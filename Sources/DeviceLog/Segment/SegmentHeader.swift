/// The first bytes of a segment file.
struct SegmentHeader: Equatable {
    /// Where the first record is: behind the header and two copies of the seal.
    static let reserved = 256
    static let size = 64
    private static let magic: UInt32 = 0x5344_4652  // "RFDS"
    static let version: UInt32 = 1

    var segment: UInt32
    /// Number of the first batch in this segment.
    var firstBatch: UInt64

    init(segment: UInt32, firstBatch: UInt64) {
        self.segment = segment
        self.firstBatch = firstBatch
    }

    func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
        bytes.put(Self.magic, at: 0)
        bytes.put(Self.version, at: 4)
        bytes.put(segment, at: 8)
        bytes.put(firstBatch, at: 16)
        bytes.put(CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)), at: 60)
    }

    /// Nil unless `bytes`, of which there are at least `size`, are the intact header of this segment.
    init?(_ bytes: UnsafeRawPointer, segment: UInt32) {
        guard bytes.get(UInt32.self, at: 0) == Self.magic, bytes.get(UInt32.self, at: 4) == Self.version,
            bytes.get(UInt32.self, at: 8) == segment,
            CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)) == bytes.get(UInt32.self, at: 60)
        else { return nil }
        self.init(segment: segment, firstBatch: bytes.get(UInt64.self, at: 16))
    }

    /// The version of everything in a segment; nil when the file has no intact header yet. Magic, version and the checksum of the first 60 bytes
    /// stay where they are in all versions.
    static func version(of file: any File) throws(FileError) -> UInt32? {
        try withUnsafeTemporaryBytes(size) { (bytes) throws(FileError) in
            guard try file.read(into: bytes, at: 0) == size, let header = UnsafeRawBufferPointer(bytes).baseAddress,
                header.get(UInt32.self, at: 0) == magic,
                CRC32C.checksum(UnsafeRawBufferPointer(bytes).part(0, 60)) == header.get(UInt32.self, at: 60)
            else { return nil }
            return header.get(UInt32.self, at: 4)
        }
    }
}

/// Where a segment ends, written when it is left: everything before the end was synced, everything behind it never
/// happened. It outlives its neighbours, so that a torn batch cannot come back after they were compacted. There are
/// two copies.
struct SegmentSeal: Equatable {
    static let size = 64
    static let offsets = [64, 128]
    private static let magic: UInt32 = 0x4544_4652  // "RFDE"
    private static let version: UInt32 = 1

    var segment: UInt32
    /// Byte offset behind the last record.
    var end: UInt32
    /// Number of the last batch; 0 when there is none.
    var lastBatch: UInt64

    init(segment: UInt32, end: UInt32, lastBatch: UInt64) {
        self.segment = segment
        self.end = end
        self.lastBatch = lastBatch
    }

    func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
        bytes.put(Self.magic, at: 0)
        bytes.put(Self.version, at: 4)
        bytes.put(segment, at: 8)
        bytes.put(end, at: 12)
        bytes.put(lastBatch, at: 16)
        bytes.put(CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)), at: 60)
    }

    init?(_ bytes: UnsafeRawPointer, segment: UInt32) {
        guard bytes.get(UInt32.self, at: 0) == Self.magic, bytes.get(UInt32.self, at: 4) == Self.version,
            bytes.get(UInt32.self, at: 8) == segment,
            CRC32C.checksum(UnsafeRawBufferPointer(start: bytes, count: 60)) == bytes.get(UInt32.self, at: 60)
        else { return nil }
        self.init(segment: segment, end: bytes.get(UInt32.self, at: 12), lastBatch: bytes.get(UInt64.self, at: 16))
    }

    /// Makes the end of a segment durable. What lies before it must be durable already.
    func write(to file: any File) throws(FileError) {
        try withUnsafeTemporaryBytes(Self.size) { (bytes) throws(FileError) in
            encode(to: bytes.baseAddress!)
            for offset in Self.offsets { try file.write(UnsafeRawBufferPointer(bytes), at: Int64(offset)) }
        }
        try file.sync()
    }

    /// The seal of a segment; nil when it has none.
    static func read(_ segment: UInt32, from file: any File) throws(FileError) -> SegmentSeal? {
        try withUnsafeTemporaryBytes(size) { (bytes) throws(FileError) in
            for offset in offsets {
                guard try file.read(into: bytes, at: Int64(offset)) == size else { return nil }
                if let seal = SegmentSeal(bytes.baseAddress!, segment: segment) { return seal }
            }
            return nil
        }
    }
}
