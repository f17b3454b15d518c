/// Tells at once that a run does not hold a key: a Bloom filter whose probes for one key lie in one cache line (Putze, Sanders and Singler,
/// "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). About one key in three hundred that is not there gets past it.
struct KeyFilter: Sendable {
    private static let bitsPerKey = 14
    private static let probes = 6
    /// 64-bit words in a cache line.
    private static let lineWords = 8

    private(set) var words: [UInt64]

    /// - Parameter keys: at most so many will be inserted.
    init(keys: Int) {
        let lines = max(1, (keys * Self.bitsPerKey + 511) / 512)
        words = Array(repeating: 0, count: lines * Self.lineWords)
    }

    /// Nil unless these are the words of a filter.
    init?(words: [UInt64]) {
        guard !words.isEmpty, words.count % Self.lineWords == 0 else { return nil }
        self.words = words
    }

    mutating func removeAll() {
        words.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
    }

    mutating func insert(_ hash: UInt64) {
        var bits = Self.spread(hash)
        let line = self.line(of: hash)
        words.withUnsafeMutableBufferPointer { words in
            for _ in 0..<Self.probes {
                words[line + Int(bits >> 6 & 7)] |= 1 << (bits & 63)
                bits >>= 9
            }
        }
    }

    func mayContain(_ hash: UInt64) -> Bool {
        var bits = Self.spread(hash)
        let line = self.line(of: hash)
        return words.withUnsafeBufferPointer { words in
            for _ in 0..<Self.probes {
                guard words[line + Int(bits >> 6 & 7)] & 1 << (bits & 63) != 0 else { return false }
                bits >>= 9
            }
            return true
        }
    }

    /// What `insert` and `mayContain` take, the same for all filters. Part of the format on disk.
    ///
    /// - Parameter key: begins with the number of its space. Those of rows and of deleted rows count as the same: who looks for a row looks
    ///   in both.
    static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        var space = key.first ?? 0
        if space == IndexSpace.deletedRows.rawValue { space = IndexSpace.rows.rawValue }
        var hash = (UInt64(space) << 32 | UInt64(key.count)) &* 0x9E37_79B9_7F4A_7C15
        var position = 1
        while position + 8 <= key.count {
            hash = mix(hash ^ UInt64(littleEndian: key.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
            position += 8
        }
        var rest: UInt64 = 0
        while position < key.count {
            rest = rest << 8 | UInt64(key[position])
            position += 1
        }
        return mix(hash ^ rest)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
        return product.high ^ product.low ^ 0xE703_7ED1_A0B4_28DB
    }

    private static func spread(_ hash: UInt64) -> UInt64 { hash &* 0x9E37_79B9_7F4A_7C15 }

    private func line(of hash: UInt64) -> Int {
        Int(((hash >> 32) &* UInt64(words.count / Self.lineWords)) >> 32) * Self.lineWords
    }
}
