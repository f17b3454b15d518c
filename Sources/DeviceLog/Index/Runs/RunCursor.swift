/// Walks over the entries of one run, in either direction. For one thread.
final class RunCursor {
    private let run: Run
    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 10, alignment: 8)
    private var block = 0
    private var view: RunBlock?
    private var index = 0

    /// Nil at either end.
    private(set) var entry: RunBlock.Entry?
    private var keyBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 8)
    private var keyCount = 0

    /// Of `entry`.
    var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(keyBuffer).part(0, keyCount) }

    init(_ run: Run) {
        self.run = run
    }

    deinit {
        buffer.deallocate()
        keyBuffer.deallocate()
    }

    /// To the first entry that is not before `key`.
    func seek(atOrBehind key: UnsafeRawBufferPointer) throws(DeviceLogError) {
        guard run.blockCount > 0 else { return end() }
        index = try locate(key, in: run.tail.fences.block(of: key) ?? 0).index
        try settle(1)
    }

    /// To the last entry that is before `key`, or is of that key when that counts too.
    func seek(before key: UnsafeRawBufferPointer, orAt isIncluded: Bool) throws(DeviceLogError) {
        guard run.blockCount > 0, let block = run.tail.fences.block(of: key) else { return end() }
        let place = try locate(key, in: block)
        index = isIncluded && place.isEqual ? place.index : place.index - 1
        try settle(-1)
    }

    /// Loads the block where a key is or would be: the one that its fence says, or one before it when that is cut.
    private func locate(
        _ key: UnsafeRawBufferPointer, in first: Int
    ) throws(DeviceLogError) -> (index: Int, isEqual: Bool) {
        var number = first
        while true {
            try load(number)
            guard let place = view?.place(of: key) else { throw .corrupt }
            let isHere = place.isEqual || place.index > 0 || number == 0 || !run.tail.fences.isCut(number)
            if isHere { return place }
            number -= 1
        }
    }

    /// To the next entry, or with -1 to the one before.
    func move(_ direction: Int) throws(DeviceLogError) {
        guard entry != nil else { return }
        index += direction
        try settle(direction)
    }

    /// Goes on to a neighbouring block when the index is outside of this one, and takes up the entry.
    private func settle(_ direction: Int) throws(DeviceLogError) {
        while let view, index < 0 || index >= view.count {
            let next = block + direction
            guard next >= 0, next < run.blockCount else { return end() }
            try load(next)
            index = direction > 0 ? 0 : (self.view?.count ?? 0) - 1
        }
        guard let view, let found = view.entry(index) else { throw .corrupt }
        entry = found
        keyCount = view.prefix.count + found.suffix.count
        if keyCount > keyBuffer.count {
            keyBuffer.deallocate()
            keyBuffer = .allocate(byteCount: keyCount * 2, alignment: 8)
        }
        guard let target = keyBuffer.baseAddress else { return }
        if let prefix = view.prefix.baseAddress { target.copyMemory(from: prefix, byteCount: view.prefix.count) }
        if let suffix = found.suffix.baseAddress {
            (target + view.prefix.count).copyMemory(from: suffix, byteCount: found.suffix.count)
        }
    }

    private func load(_ block: Int) throws(DeviceLogError) {
        if view != nil, block == self.block { return }
        view = nil
        entry = nil
        let length = run.length(ofBlock: block)
        if length > buffer.count {
            buffer.deallocate()
            buffer = .allocate(byteCount: length * 2, alignment: 8)
        }
        view = try run.read(block: block, into: buffer)
        self.block = block
    }

    private func end() {
        entry = nil
    }
}

/// Walks over several runs as one: of entries with the same key only that of the newest run shows, removals too. For one thread.
final class MergedCursor {
    private let cursors: [RunCursor]
    private let direction: Int
    private var best = -1
    /// The cursors that stand at the key that shows.
    private var ties: [Int] = []

    /// - Parameter runs: the newest first.
    init(_ runs: [Run], reverse: Bool = false) {
        cursors = runs.map { RunCursor($0) }
        direction = reverse ? -1 : 1
    }

    /// Nil at the end.
    var entry: RunBlock.Entry? { best < 0 ? nil : cursors[best].entry }
    /// Of `entry`.
    var key: UnsafeRawBufferPointer { cursors[best].key }

    func seek(atOrBehind key: UnsafeRawBufferPointer) throws(DeviceLogError) {
        for cursor in cursors { try cursor.seek(atOrBehind: key) }
        select()
    }

    func seek(before key: UnsafeRawBufferPointer, orAt isIncluded: Bool) throws(DeviceLogError) {
        for cursor in cursors { try cursor.seek(before: key, orAt: isIncluded) }
        select()
    }

    /// On to `key`, which is ahead, or what follows it: runs that are there already stay where they are.
    func skip(to key: UnsafeRawBufferPointer) throws(DeviceLogError) {
        for cursor in cursors where cursor.entry != nil && compare(cursor.key, key) * direction < 0 {
            if direction > 0 {
                try cursor.seek(atOrBehind: key)
            } else {
                try cursor.seek(before: key, orAt: true)
            }
        }
        select()
    }

    func move() throws(DeviceLogError) {
        for index in ties { try cursors[index].move(direction) }
        select()
    }

    private func select() {
        best = -1
        ties.removeAll(keepingCapacity: true)
        for index in cursors.indices where cursors[index].entry != nil {
            let order = best < 0 ? -1 : compare(cursors[index].key, cursors[best].key) * direction
            if order < 0 {
                best = index
                ties.removeAll(keepingCapacity: true)
                ties.append(index)
            } else if order == 0 {
                ties.append(index)
            }
        }
    }
}
