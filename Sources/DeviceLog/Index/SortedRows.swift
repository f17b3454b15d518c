/// The rows of one table: found by their hashes, and in the order of their names for who asks for that. Not synchronised.
///
/// Writes come one by one and listings seldom, so a row takes its place in the order when somebody looks at it: a list of small blocks, so
/// that an insert moves few entries and a listing can begin anywhere.
final class SortedRows: @unchecked Sendable {
    struct Element {
        var name: [UInt8]
        var row: StoredRow
        /// Below there may be a row of this name and of the other kind, which counts no longer.
        var hidesOther: Bool
    }

    private static let blockSize = 64

    /// As they came.
    private var elements: [Element] = []
    /// By hash, open addressing: the upper half of the hash and the number of the element, counted from 1; 0 when free.
    private var slots = [UInt64](repeating: 0, count: 8)
    /// Numbers of the first `ordered` elements by name. None is empty.
    private var blocks: [[UInt32]] = []
    private var ordered = 0

    var count: Int { elements.count }

    func find(_ name: UnsafeRawBufferPointer) -> StoredRow? {
        guard let element = slot(name, Self.hash(name)).element else { return nil }
        return elements[element].row
    }

    /// - Parameter hidesOther: whether a row of the other kind was there, here or below.
    func set(_ name: [UInt8], _ row: StoredRow, hidesOther: Bool) {
        let hash = name.withUnsafeBytes { Self.hash($0) }
        let (slot, element) = name.withUnsafeBytes { self.slot($0, hash) }
        if let element {
            elements[element].row = row
            if hidesOther { elements[element].hidesOther = true }
            return
        }
        elements.append(Element(name: name, row: row, hidesOther: hidesOther))
        slots[slot] = hash & Self.tag | UInt64(elements.count)
        if elements.count * 2 > slots.count { grow() }
    }

    /// All, in no order. Also while others look at pages.
    func forEach(_ body: (Element) -> Void) {
        for element in elements { body(element) }
    }

    /// All in the order of their names. Also while others look at pages.
    func inOrder() -> [Element] { sorted().map { elements[Int($0)] } }

    /// Up to `limit` rows from `start` on, in the direction of the scan.
    func page(from start: ScanStart, reverse: Bool, limit: Int) -> [Element] {
        order()
        guard !blocks.isEmpty else { return [] }
        var (block, index) = reverse ? reverseStart(start) : forwardStart(start)
        var page: [Element] = []
        page.reserveCapacity(min(limit, count))
        while page.count < limit, block >= 0, block < blocks.count {
            if index < 0 || index >= blocks[block].count {
                block += reverse ? -1 : 1
                index = reverse && block >= 0 ? blocks[block].count - 1 : 0
                continue
            }
            page.append(elements[Int(blocks[block][index])])
            index += reverse ? -1 : 1
        }
        return page
    }

    // MARK: By hash

    /// The half of a hash that slots hold, by which they have their places too.
    private static let tag: UInt64 = 0xFFFF_FFFF_0000_0000

    /// Of this process: clients choose the names, and must not be able to choose such that all want one slot.
    private static func hash(_ name: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: name)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    /// Where a name is, or the free slot where it belongs.
    private func slot(_ name: UnsafeRawBufferPointer, _ hash: UInt64) -> (slot: Int, element: Int?) {
        let mask = slots.count - 1
        var place = Int(hash >> 32) & mask
        while slots[place] != 0 {
            let element = Int(slots[place] & ~Self.tag) - 1
            if (slots[place] ^ hash) & Self.tag == 0, order(of: element, to: name) == 0 { return (place, element) }
            place = (place + 1) & mask
        }
        return (place, nil)
    }

    private func grow() {
        let old = slots
        slots = [UInt64](repeating: 0, count: old.count * 2)
        let mask = slots.count - 1
        for slot in old where slot != 0 {
            var place = Int(slot >> 32) & mask
            while slots[place] != 0 { place = (place + 1) & mask }
            slots[place] = slot
        }
    }

    // MARK: By name

    /// From so many on that have no place in the order yet, and are no few of all, everything is sorted instead of inserting them.
    private static let worthSorting = 64

    private func order() {
        let new = elements.count - ordered
        guard new > 0 else { return }
        if new >= Self.worthSorting, new > ordered / 8 {
            let sorted = self.sorted()
            let size = Self.blockSize / 2
            blocks = stride(from: 0, to: sorted.count, by: size).map {
                Array(sorted[$0..<min($0 + size, sorted.count)])
            }
        } else {
            for element in ordered..<elements.count { insert(element) }
        }
        ordered = elements.count
    }

    private func sorted() -> [UInt32] {
        // Compares eight bytes that are at hand, as long as they differ.
        let skip = sharedLength
        var keys = elements.indices.map { (start: start(of: elements[$0].name, after: skip), number: UInt32($0)) }
        keys.sort { left, right in
            if left.start != right.start { return left.start < right.start }
            return elements[Int(right.number)].name.withUnsafeBytes { order(of: Int(left.number), to: $0) < 0 }
        }
        return keys.map(\.number)
    }

    /// How many bytes all names begin with.
    private var sharedLength: Int {
        guard let first = elements.first?.name else { return 0 }
        return first.withUnsafeBytes { first in
            elements.reduce(first.count) { shared, element in
                element.name.withUnsafeBytes { commonLength(first.part(0, shared), $0) }
            }
        }
    }

    /// Eight bytes of a name as a number that has their order; zeros behind its end.
    private func start(of name: [UInt8], after skip: Int) -> UInt64 {
        var start: UInt64 = 0
        name.withUnsafeBytes { bytes in
            let count = min(8, bytes.count - skip)
            for index in 0..<count { start |= UInt64(bytes[skip + index]) << UInt64(56 - 8 * index) }
        }
        return start
    }

    private func insert(_ element: Int) {
        let (block, index, _) = elements[element].name.withUnsafeBytes { place($0) }
        if blocks.isEmpty { blocks.append([]) }
        blocks[block].insert(UInt32(element), at: index)
        if blocks[block].count >= Self.blockSize {
            let upper = Array(blocks[block][(Self.blockSize / 2)...])
            blocks[block].removeLast(upper.count)
            blocks.insert(upper, at: block + 1)
        }
    }

    private func forwardStart(_ start: ScanStart) -> (Int, Int) {
        switch start {
        case .first:
            return (0, 0)
        case .at(let name):
            let (block, index, _) = name.withUnsafeBytes { place($0) }
            return (block, index)
        case .after(let name):
            let (block, index, found) = name.withUnsafeBytes { place($0) }
            return (block, found ? index + 1 : index)
        }
    }

    private func reverseStart(_ start: ScanStart) -> (Int, Int) {
        switch start {
        case .first:
            return (blocks.count - 1, blocks[blocks.count - 1].count - 1)
        case .at(let name):
            let (block, index, found) = name.withUnsafeBytes { place($0) }
            return (block, found ? index : index - 1)
        case .after(let name):
            let (block, index, _) = name.withUnsafeBytes { place($0) }
            return (block, index - 1)
        }
    }

    /// Where a name is, or where it belongs; the last block that begins at or before it.
    private func place(_ name: UnsafeRawBufferPointer) -> (block: Int, index: Int, found: Bool) {
        guard !blocks.isEmpty else { return (0, 0, false) }
        var low = 0
        var high = blocks.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if order(of: Int(blocks[middle][0]), to: name) <= 0 { low = middle } else { high = middle }
        }
        let block = low
        low = 0
        high = blocks[block].count
        while low < high {
            let middle = (low + high) / 2
            let order = order(of: Int(blocks[block][middle]), to: name)
            if order == 0 { return (block, middle, true) }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return (block, low, false)
    }

    private func order(of element: Int, to name: UnsafeRawBufferPointer) -> Int {
        elements[element].name.withUnsafeBytes { compare($0, name) }
    }
}
