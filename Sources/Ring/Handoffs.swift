/// The devices that stand in for the primaries of a partition, best first, found while iterating.
///
/// The order is that of OpenStack Swift: a walk over the ring that starts at a place derived from the partition's number and
/// takes what is new, once looking for new regions, then zones, then nodes, then devices.
package struct Handoffs: Sequence, Sendable {
    let ring: Ring
    let partition: Int

    package func makeIterator() -> Iterator {
        Iterator(ring: ring, partition: partition)
    }

    package struct Iterator: IteratorProtocol {
        private let ring: Ring
        private var walk: Walk
        private var column = 0
        /// The tier level whose new members are looked for; the last one is the device itself.
        private var level = 0
        private var usedDevices: BitSet
        private var usedTiers: [BitSet]

        fileprivate init(ring: Ring, partition: Int) {
            self.ring = ring
            walk = Walk(ring: ring, partition: partition)
            usedDevices = BitSet(capacity: ring.devices.count)
            usedTiers = Array(repeating: BitSet(capacity: ring.devices.count), count: DeviceTiers.levels)
            for id in ring.primaries(of: partition) { use(id) }
        }

        package mutating func next() -> Int? {
            while level <= DeviceTiers.levels {
                if let id = nextAtLevel() { return id }
                level += 1
                walk.restart()
                column = 0
            }
            return nil
        }

        /// Nothing new is left at this level.
        private var isExhausted: Bool {
            level < DeviceTiers.levels
                ? usedTiers[level].count == ring.tiers.assignedTiers[level]
                : usedDevices.count == ring.tiers.assignedDevices
        }

        private mutating func nextAtLevel() -> Int? {
            guard !isExhausted else { return nil }
            let columns = ring.table.columns
            while let partition = walk.current {
                while column < columns {
                    let id = ring.table[partition, column]
                    column += 1
                    guard id != AssignmentTable.unassigned, isNew(Int(id)) else { continue }
                    use(Int(id))
                    return Int(id)
                }
                column = 0
                walk.advance()
            }
            return nil
        }

        private func isNew(_ id: Int) -> Bool {
            if usedDevices.contains(id) { return false }
            return level == DeviceTiers.levels || !usedTiers[level].contains(Int(ring.tiers.numbers[level][id]))
        }

        private mutating func use(_ id: Int) {
            usedDevices.insert(id)
            for level in 0..<DeviceTiers.levels { usedTiers[level].insert(Int(ring.tiers.numbers[level][id])) }
        }
    }
}

/// The partitions a search for handoffs visits: from a start to the end in steps, then from the beginning to the start.
private struct Walk {
    /// A search visits about this many partitions, so that it ends in bounded time in large rings.
    private static let visits = 65536

    private let count: Int
    private let start: Int
    private let step: Int
    private var position: Int
    private var wrapped = false

    init(ring: Ring, partition: Int) {
        count = ring.table.columns == 0 ? 0 : ring.partitionCount
        step = max(1, ring.partitionCount / Self.visits)
        let name = PathHasher(prefix: [], suffix: []).hash(path: String(partition).utf8)
        start = name.partition(partPower: ring.partPower)
        position = start
    }

    var current: Int? {
        if !wrapped { return position < count ? position : nil }
        return position < start ? position : nil
    }

    mutating func advance() {
        position += step
        if !wrapped, position >= count {
            wrapped = true
            position = step - (count - start) % step
        }
    }

    mutating func restart() {
        position = start
        wrapped = false
    }
}

/// A set of small integers that knows its size.
private struct BitSet {
    private var words: [UInt64]
    private(set) var count = 0

    init(capacity: Int) {
        words = [UInt64](repeating: 0, count: (capacity + 63) / 64)
    }

    func contains(_ member: Int) -> Bool {
        words[member >> 6] & (1 << UInt64(member & 63)) != 0
    }

    mutating func insert(_ member: Int) {
        guard !contains(member) else { return }
        words[member >> 6] |= 1 << UInt64(member & 63)
        count += 1
    }
}
