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

        var key: ObjectKey { ObjectKey(policy: policy, hash: PathHash(high: high, low: low)) }
    }

    private var slots: UnsafeMutablePointer<Slot>
    private var mask: Int
    private(set) var count = 0

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
            let slot = slots + place(key)
            if !slot.pointee.isUsed { count += 1 }
            slot.pointee = Slot(
                high: key.hash.high, low: key.hash.low, entry: newValue, policy: key.policy, isUsed: true)
        }
    }

    func removeAll() {
        guard count > 0 else { return }
        for index in 0...mask { slots[index].isUsed = false }
        count = 0
    }

    /// All entries in the order of policy and hash.
    func sorted() -> [Slot] { sorted { _ in true } }

    /// Some entries in the order of policy and hash.
    func sorted(where isWanted: (ObjectKey) -> Bool) -> [Slot] {
        var all: [Slot] = []
        for index in 0...mask where slots[index].isUsed && isWanted(slots[index].key) { all.append(slots[index]) }
        all.sort { left, right in
            if left.policy != right.policy { return left.policy < right.policy }
            return left.high != right.high ? left.high < right.high : left.low < right.low
        }
        return all
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
