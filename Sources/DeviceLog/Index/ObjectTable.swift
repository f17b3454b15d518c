internal import Ring

/// A hash table from object to entry: open addressing over plain memory, because `Dictionary` costs five times as much.
/// Not synchronised.
final class ObjectTable: @unchecked Sendable {
    struct Slot {
        var high: UInt64
        var low: UInt64
        var entry: ObjectEntry
        var policy: UInt8
        var isUsed: Bool

        var hash: PathHash { PathHash(high: high, low: low) }
        var key: ObjectKey { ObjectKey(policy: policy, hash: hash) }
    }

    private var slots: UnsafeMutablePointer<Slot>
    private var mask: Int
    private(set) var count = 0
    /// The slots of each bucket, from the first question for a range on: writes don't pay for it before.
    private var chains: Chains?

    /// Lists of slots by the upper 16 bits of their hashes.
    private struct Chains {
        static let end = UInt32.max
        var first = [UInt32](repeating: end, count: 1 << 16)
        /// By slot.
        var next: [UInt32]

        mutating func add(_ slot: Int, _ high: UInt64) {
            let bucket = Int(high >> 48)
            next[slot] = first[bucket]
            first[bucket] = UInt32(slot)
        }
    }

    init(capacity: Int = 64) {
        precondition(capacity.nonzeroBitCount == 1)
        mask = capacity - 1
        slots = Self.allocate(capacity)
    }

    deinit {
        slots.deallocate()
    }

    subscript(key: ObjectKey) -> ObjectEntry? {
        get {
            let slot = slots + place(key)
            return slot.pointee.isUsed ? slot.pointee.entry : nil
        }
        set {
            guard let newValue else { preconditionFailure("entries are replaced, never taken out") }
            if (count + 1) * 4 > (mask + 1) * 3 { grow() }
            let index = place(key)
            let slot = slots + index
            if !slot.pointee.isUsed {
                count += 1
                chains?.add(index, key.hash.high)
            }
            slot.pointee = Slot(
                high: key.hash.high, low: key.hash.low, entry: newValue, policy: key.policy, isUsed: true)
        }
    }

    func removeAll() {
        guard count > 0 else { return }
        for index in 0...mask { slots[index].isUsed = false }
        count = 0
        chains = nil
    }

    /// All entries in the order of policy and hash.
    func sorted() -> [Slot] {
        // What is moved about is small.
        var places: [(policy: UInt8, high: UInt64, index: Int)] = []
        places.reserveCapacity(count)
        for index in 0...mask where slots[index].isUsed {
            places.append((slots[index].policy, slots[index].high, index))
        }
        places.sort { left, right in
            if left.policy != right.policy { return left.policy < right.policy }
            if left.high != right.high { return left.high < right.high }
            return slots[left.index].low < slots[right.index].low
        }
        return places.map { slots[$0.index] }
    }

    /// The entries of a policy from `first` to `last`, in no order. After a first one it takes as long as there are entries in the range.
    func entries(policy: UInt8, from first: PathHash, through last: PathHash) -> [Slot] {
        guard count > 0 else { return [] }
        let chains = self.chains ?? chained()
        self.chains = chains
        var found: [Slot] = []
        for bucket in Int(first.high >> 48)...Int(last.high >> 48) {
            var index = chains.first[bucket]
            while index != Chains.end {
                let slot = slots[Int(index)]
                if slot.policy == policy, !(slot.hash < first), !(last < slot.hash) { found.append(slot) }
                index = chains.next[Int(index)]
            }
        }
        return found
    }

    private func chained() -> Chains {
        var chains = Chains(next: [UInt32](repeating: Chains.end, count: mask + 1))
        for index in 0...mask where slots[index].isUsed { chains.add(index, slots[index].high) }
        return chains
    }

    /// The slot of a key, or the free one where it belongs. The hash is MD5: its bits need no mixing.
    @inline(__always)
    private func place(_ key: ObjectKey) -> Int {
        var index = Int(truncatingIfNeeded: key.hash.low ^ UInt64(key.policy)) & mask
        while slots[index].isUsed {
            if slots[index].low == key.hash.low, slots[index].high == key.hash.high,
                slots[index].policy == key.policy
            {
                break
            }
            index = (index + 1) & mask
        }
        return index
    }

    private func grow() {
        let old = slots
        let oldCount = mask + 1
        chains = nil
        mask = oldCount * 2 - 1
        slots = Self.allocate(oldCount * 2)
        for index in 0..<oldCount where old[index].isUsed { slots[place(old[index].key)] = old[index] }
        old.deallocate()
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Slot> {
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: capacity)
        slots.initialize(
            repeating: Slot(
                high: 0, low: 0,
                entry: ObjectEntry(
                    kind: .removed, timestamp: 0, dataTimestamp: 0, record: .none, data: .none, blob: 0),
                policy: 0, isUsed: false),
            count: capacity)
        return slots
    }
}
