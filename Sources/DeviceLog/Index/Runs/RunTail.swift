/// Where the blocks of a run begin, and bytes that tell which of them can hold a key.
struct RunFences: Sendable {
    /// Names that share a long beginning would make fences as large as blocks.
    private static let longest = 64

    private(set) var offsets: [Int64] = []
    private var keyEnds: [UInt32] = []
    private var keys: [UInt8] = []

    var count: Int { offsets.count }

    /// The next block: its keys are not before `key`, those of the block before it are. Of a long one only the beginning is kept.
    mutating func append(_ key: UnsafeRawBufferPointer, offset: Int64) {
        offsets.append(offset)
        keys.append(contentsOf: key.prefix(Self.longest))
        keyEnds.append(UInt32(keys.count))
    }

    /// Whether only the beginning of a fence is there: keys that are not before it may be in the block before.
    func isCut(_ block: Int) -> Bool {
        Int(keyEnds[block]) - (block == 0 ? 0 : Int(keyEnds[block - 1])) == Self.longest
    }

    /// The block that holds a key if any does, or, when its fence is cut, one before it; nil when the key is before all.
    func block(of key: UnsafeRawBufferPointer) -> Int? {
        keys.withUnsafeBytes { keys in
            keyEnds.withUnsafeBufferPointer { ends in
                var low = 0
                var high = ends.count
                while low < high {
                    let middle = (low + high) / 2
                    let start = middle == 0 ? 0 : Int(ends[middle - 1])
                    if compare(keys.part(start, Int(ends[middle]) - start), key) <= 0 {
                        low = middle + 1
                    } else {
                        high = middle
                    }
                }
                return low == 0 ? nil : low - 1
            }
        }
    }

    fileprivate func encode(to bytes: inout [UInt8]) {
        for offset in offsets { bytes.append(little: offset) }
        for end in keyEnds { bytes.append(little: end) }
        bytes.append(contentsOf: keys)
    }

    fileprivate init?(_ reader: inout ByteReader, count: Int, keyBytes: Int) {
        guard count <= reader.remaining / 12 else { return nil }
        offsets.reserveCapacity(count)
        keyEnds.reserveCapacity(count)
        for _ in 0..<count {
            guard let offset = reader.next(Int64.self), offset >= offsets.last ?? 0 else { return nil }
            offsets.append(offset)
        }
        for _ in 0..<count {
            guard let end = reader.next(UInt32.self), end >= keyEnds.last ?? 0, end <= keyBytes else { return nil }
            keyEnds.append(end)
        }
        guard let bytes = reader.next(count: keyBytes) else { return nil }
        keys = [UInt8](bytes)
    }

    init() {}
}

/// What is behind the blocks of a run, and in memory as long as it is open: fences, filter and a trailer that says where they begin.
struct RunTail: Sendable {
    static let trailerSize = 60
    private static let magic: UInt64 = 0x4E55_5258_4449_4652
    private static let version: UInt32 = 1

    let fences: RunFences
    let filter: KeyFilter
    /// Entries of the run, removed ones too.
    let count: UInt64
    /// Those that only say that something is removed.
    let removals: UInt64
    /// Where the last block ends.
    let end: Int64

    init(fences: RunFences, filter: KeyFilter, count: UInt64, removals: UInt64, end: Int64) {
        self.fences = fences
        self.filter = filter
        self.count = count
        self.removals = removals
        self.end = end
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        fences.encode(to: &bytes)
        let keyBytes = bytes.count - fences.count * 12
        for word in filter.words { bytes.append(little: word) }
        bytes.append(little: Self.magic)
        bytes.append(little: Self.version)
        bytes.append(little: UInt32(fences.count))
        bytes.append(little: count)
        bytes.append(little: end)
        bytes.append(little: UInt64(keyBytes))
        bytes.append(little: UInt64(filter.words.count))
        bytes.append(little: removals)
        bytes.append(little: bytes.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes
    }

    /// Where the tail begins, by the last `trailerSize` bytes of the file; nil when they are damaged.
    static func start(_ trailer: UnsafeRawBufferPointer, fileSize: Int64) -> Int64? {
        guard trailer.count == trailerSize, let bytes = trailer.baseAddress, bytes.get(UInt64.self, at: 0) == magic,
            bytes.get(UInt32.self, at: 8) == version
        else { return nil }
        let end = bytes.get(Int64.self, at: 24)
        return end >= 0 && end <= fileSize - Int64(trailerSize) ? end : nil
    }

    /// Nil when damaged.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.trailerSize, let base = bytes.baseAddress,
            CRC32C.checksum(bytes.part(0, bytes.count - 4)) == base.get(UInt32.self, at: bytes.count - 4)
        else { return nil }
        let trailer = base + (bytes.count - Self.trailerSize)
        let words = trailer.get(UInt64.self, at: 40)
        let keyBytes = trailer.get(UInt64.self, at: 32)
        var reader = ByteReader(bytes.part(0, bytes.count - Self.trailerSize))
        guard keyBytes <= bytes.count, words <= bytes.count / 8,
            let fences = RunFences(&reader, count: Int(trailer.get(UInt32.self, at: 12)), keyBytes: Int(keyBytes)),
            reader.remaining == Int(words) * 8
        else { return nil }
        let filterBytes = bytes.part(reader.position, reader.remaining)
        let filter = KeyFilter(
            words: (0..<Int(words)).map {
                UInt64(littleEndian: filterBytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self))
            })
        guard let filter else { return nil }
        let count = trailer.get(UInt64.self, at: 16)
        let end = trailer.get(Int64.self, at: 24)
        let removals = trailer.get(UInt64.self, at: 48)
        // An entry takes more than this.
        guard end >= fences.offsets.last ?? 0, count <= UInt64(end) / 8, removals <= count else { return nil }
        self.init(fences: fences, filter: filter, count: count, removals: removals, end: end)
    }
}
