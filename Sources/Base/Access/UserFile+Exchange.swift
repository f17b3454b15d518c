/// How two nodes come to know the same users: one tells digests of what it has, the other answers with the lines of what differs, and the first
/// takes over what is newer. No line is ever taken back, so it does not matter in which order, how often and through whom they come.
extension UserFile {
    /// Lines that answer a comparison.
    package struct Page: Sendable, Equatable {
        /// As in the file, by name.
        package var lines: [UInt8]
        /// Whether there are none behind them.
        package var isWhole: Bool
    }

    /// What came of lines of another node.
    package struct Merge: Sendable, Equatable {
        /// Names of which something newer is known now.
        package var newer: Int
        /// The greatest name in the lines, behind which the next page begins; empty without lines.
        package var last: [UInt8]
    }

    /// Names are compared in so many groups, so that one change does not bring all users along.
    package static let bucketCount = 64

    /// FNV-1a (Fowler, Noll, Vo) of 32 bits, folded.
    static func bucket(of name: [UInt8]) -> Int {
        let hash = name.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        return Int(hash ^ hash >> 15) & (bucketCount - 1)
    }

    /// What is known here in the buckets whose digests are others, of names behind `after`.
    /// - Parameters:
    ///   - digests: of the node that asks; of another number of buckets than here all differ.
    ///   - limit: bytes of lines, but one line comes in any case.
    package func page(differingFrom digests: [UInt64], after: [UInt8], limit: Int) -> Page {
        guard digests != self.digests else { return Page(lines: [], isWhole: true) }
        let isComparable = digests.count == Self.bucketCount
        let differing = self.digests.indices.map { !isComparable || self.digests[$0] != digests[$0] }
        let names = entries.keys.filter { differing[Self.bucket(of: $0)] && after.lexicographicallyPrecedes($0) }
        var page = Page(lines: [], isWhole: true)
        for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let line = entries[name]?.line else { continue }
            guard page.lines.isEmpty || page.lines.count + line.count < limit else {
                page.isWhole = false
                break
            }
            page.lines += line + [UInt8(ascii: "\n")]
        }
        return page
    }

    /// Takes over what is newer in lines of another node.
    /// - Throws: when a line is not sound, or there would be too many; then nothing is changed.
    @discardableResult
    package mutating func merge(_ lines: [UInt8]) throws(Failure) -> Merge {
        var merge = Merge(newer: 0, last: [])
        var newer: [[UInt8]: UserEntry] = [:]
        var added = 0
        for (index, line) in lines.split(separator: UInt8(ascii: "\n")).enumerated() {
            let entry = try UserEntry(parsing: line, number: index + 1, box: box)
            let name = entry.user.qualifiedName
            if merge.last.lexicographicallyPrecedes(name) { merge.last = name }
            let known = newer[name] ?? entries[name]
            guard known.map({ entry.isNewer(than: $0) }) ?? true else { continue }
            if known == nil { added += 1 }
            newer[name] = entry
        }
        guard entries.count + added <= Self.maximumEntries else { throw .tooManyUsers }
        for entry in newer.values { put(entry) }
        merge.newer = newer.count
        return merge
    }
}
