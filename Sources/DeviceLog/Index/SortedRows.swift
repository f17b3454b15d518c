/// The rows of one table in the order of their names: a list of small sorted blocks, so that an insert moves a few
/// entries only and a listing can begin anywhere. Not synchronised.
final class SortedRows: @unchecked Sendable {
    struct Element {
        var name: [UInt8]
        var row: StoredRow
        /// Below there may be a row of this name and of the other kind, which counts no longer.
        var hidesOther: Bool
    }

    private static let blockSize = 64

    /// None is empty.
    private var blocks: [[Element]] = []
    private(set) var count = 0

    func find(_ name: UnsafeRawBufferPointer) -> StoredRow? {
        let (block, index, found) = place(name)
        return found ? blocks[block][index].row : nil
    }

    /// - Parameter hidesOther: whether a row of the other kind was there, here or below.
    func set(_ name: [UInt8], _ row: StoredRow, hidesOther: Bool) {
        let (block, index, found) = name.withUnsafeBytes { place($0) }
        if found {
            blocks[block][index].row = row
            if hidesOther { blocks[block][index].hidesOther = true }
            return
        }
        count += 1
        if blocks.isEmpty {
            blocks.append([])
            blocks[0].reserveCapacity(Self.blockSize)
        }
        blocks[block].insert(Element(name: name, row: row, hidesOther: hidesOther), at: index)
        if blocks[block].count >= Self.blockSize {
            let upper = Array(blocks[block][(Self.blockSize / 2)...])
            blocks[block].removeLast(upper.count)
            blocks.insert(upper, at: block + 1)
        }
    }

    func remove(_ name: UnsafeRawBufferPointer) {
        let (block, index, found) = place(name)
        guard found else { return }
        blocks[block].remove(at: index)
        count -= 1
        if blocks[block].isEmpty { blocks.remove(at: block) }
    }

    func forEach<Failure: Error>(_ body: (Element) throws(Failure) -> Void) throws(Failure) {
        for block in blocks {
            for element in block { try body(element) }
        }
    }

    /// Up to `limit` rows from `start` on, in the direction of the scan.
    func page(from start: ScanStart, reverse: Bool, limit: Int) -> [Element] {
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
            page.append(blocks[block][index])
            index += reverse ? -1 : 1
        }
        return page
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
            if order(of: blocks[middle][0].name, to: name) <= 0 { low = middle } else { high = middle }
        }
        let block = low
        low = 0
        high = blocks[block].count
        while low < high {
            let middle = (low + high) / 2
            let order = order(of: blocks[block][middle].name, to: name)
            if order == 0 { return (block, middle, true) }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return (block, low, false)
    }

    private func order(of left: [UInt8], to right: UnsafeRawBufferPointer) -> Int {
        left.withUnsafeBytes { compare($0, right) }
    }
}
