/// The calls that are under way on one connection, by id.
///
/// An id is a slot in a flat array and a generation that tells the users of a slot apart, so that a late reply to a call that was given
/// up meets nobody. The caller's side allocates ids; the serving side files calls under the ids it is told.
struct CallTable<Call: AnyObject> {
    private struct Slot {
        var call: Call?
        var generation: UInt16 = 0
    }

    private var slots: [Slot] = []
    private var free: [UInt16] = []
    private let limit: Int
    private let allocatesIds: Bool
    private(set) var count = 0

    private static var slotBits: UInt32 { 16 }

    /// - Parameter allocatesIds: whether this is the caller's side, that uses `add`, or the serving side, that uses `insert`.
    init(limit: Int, allocatesIds: Bool) {
        self.limit = min(max(limit, 1), 1 << Int(Self.slotBits))
        self.allocatesIds = allocatesIds
    }

    private static func slot(of id: UInt32) -> Int { Int(id & 0xffff) }

    /// The call of that id if it is under way.
    subscript(id: UInt32) -> Call? {
        let index = Self.slot(of: id)
        guard index < slots.count, slots[index].generation == UInt16(id >> Self.slotBits) else { return nil }
        return slots[index].call
    }

    /// An id for a further call, `nil` when there are as many as allowed.
    mutating func add(_ call: Call) -> UInt32? {
        let index: Int
        if let last = free.popLast() {
            index = Int(last)
        } else {
            guard slots.count < limit else { return nil }
            index = slots.count
            slots.append(Slot())
        }
        slots[index].call = call
        slots[index].generation &+= 1
        count += 1
        return UInt32(slots[index].generation) << Self.slotBits | UInt32(index)
    }

    enum Insertion {
        case inserted
        /// The slot is beyond the limit: the peer has too many calls under way.
        case tooMany
        /// The slot is taken: the peer has lost count.
        case taken
    }

    /// Files a call under an id that the peer gave it.
    mutating func insert(_ call: Call, id: UInt32) -> Insertion {
        let index = Self.slot(of: id)
        guard index < limit else { return .tooMany }
        while slots.count <= index { slots.append(Slot()) }
        guard slots[index].call == nil else { return .taken }
        slots[index] = Slot(call: call, generation: UInt16(id >> Self.slotBits))
        count += 1
        return .inserted
    }

    /// - Returns: the call, `nil` when it was not there.
    @discardableResult
    mutating func remove(_ id: UInt32) -> Call? {
        guard let call = self[id] else { return nil }
        let index = Self.slot(of: id)
        slots[index].call = nil
        if allocatesIds { free.append(UInt16(index)) }
        count -= 1
        return call
    }

    /// Everything that is under way.
    var calls: [Call] { slots.compactMap(\.call) }
}
