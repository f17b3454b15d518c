/// One block of a run, read: some entries in the order of their keys. A view of bytes that live elsewhere.
///
/// Checksum, number of entries, length of what all keys begin with and these bytes; the entries; their offsets.
struct RunBlock {
    static let headerSize = 12
    static let entryHeaderSize = 6
    /// In the length of a value: the key is removed.
    static let removedFlag: UInt32 = 0x8000_0000

    struct Entry {
        /// The key without what all keys of the block begin with.
        var suffix: UnsafeRawBufferPointer
        var value: UnsafeRawBufferPointer
        /// What older runs have under this key counts no longer.
        var isRemoved: Bool
    }

    let bytes: UnsafeRawBufferPointer
    let count: Int
    let prefix: UnsafeRawBufferPointer
    private let offsets: Int

    /// Nil when the bytes are damaged.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerSize, let start = bytes.baseAddress,
            CRC32C.checksum(bytes.part(4, bytes.count - 4)) == start.get(UInt32.self, at: 0)
        else { return nil }
        self.init(verified: bytes)
    }

    /// Of bytes whose checksum was right.
    init?(verified bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerSize, let start = bytes.baseAddress else { return nil }
        count = Int(start.get(UInt32.self, at: 4))
        let prefixLength = Int(start.get(UInt32.self, at: 8))
        offsets = bytes.count - count * 4
        guard count > 0, Self.headerSize + prefixLength <= offsets else { return nil }
        self.bytes = bytes
        prefix = bytes.part(Self.headerSize, prefixLength)
    }

    /// Nil when the block contradicts itself.
    func entry(_ index: Int) -> Entry? {
        guard index >= 0, index < count, let start = bytes.baseAddress else { return nil }
        let offset = Int(start.get(UInt32.self, at: offsets + index * 4))
        guard offset >= Self.headerSize, offset + Self.entryHeaderSize <= offsets else { return nil }
        let suffixLength = Int(start.get(UInt16.self, at: offset))
        let flags = start.get(UInt32.self, at: offset + 2)
        let valueLength = Int(flags & ~Self.removedFlag)
        let suffix = offset + Self.entryHeaderSize
        guard suffix + suffixLength + valueLength <= offsets else { return nil }
        return Entry(
            suffix: bytes.part(suffix, suffixLength), value: bytes.part(suffix + suffixLength, valueLength),
            isRemoved: flags & Self.removedFlag != 0)
    }

    /// The first entry whose key is not before `key`, `count` when there is none; nil when the block contradicts itself.
    func place(of key: UnsafeRawBufferPointer) -> (index: Int, isEqual: Bool)? {
        let prefixOrder = compare(prefix, key.part(0, min(prefix.count, key.count)))
        if prefixOrder != 0 { return prefixOrder < 0 ? (count, false) : (0, false) }
        let rest = key.part(prefix.count, key.count - prefix.count)
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            guard let entry = entry(middle) else { return nil }
            let order = compare(entry.suffix, rest)
            if order == 0 { return (middle, true) }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return (low, false)
    }
}

/// Puts a block together.
struct RunBlockBuilder {
    private struct Entry {
        var keyEnd: Int
        var valueEnd: Int
        var isRemoved: Bool
    }

    private var entries: [Entry] = []
    private var keys: [UInt8] = []
    private var values: [UInt8] = []

    var isEmpty: Bool { entries.isEmpty }
    /// What the block takes, at most.
    var size: Int { RunBlock.headerSize + keys.count + values.count + entries.count * (RunBlock.entryHeaderSize + 4) }

    mutating func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, isRemoved: Bool) {
        keys.append(contentsOf: key)
        values.append(contentsOf: value)
        entries.append(Entry(keyEnd: keys.count, valueEnd: values.count, isRemoved: isRemoved))
    }

    /// Appends the block and begins another one.
    mutating func finish(to output: inout [UInt8]) {
        let start = output.count
        let prefix = commonPrefix
        output.append(little: UInt32(0))
        output.append(little: UInt32(entries.count))
        output.append(little: UInt32(prefix))
        output.append(contentsOf: keys[..<prefix])
        var offsets: [UInt32] = []
        offsets.reserveCapacity(entries.count)
        var keyStart = 0
        var valueStart = 0
        for entry in entries {
            offsets.append(UInt32(output.count - start))
            output.append(little: UInt16(entry.keyEnd - keyStart - prefix))
            let flag = entry.isRemoved ? RunBlock.removedFlag : 0
            output.append(little: UInt32(entry.valueEnd - valueStart) | flag)
            output.append(contentsOf: keys[keyStart + prefix..<entry.keyEnd])
            output.append(contentsOf: values[valueStart..<entry.valueEnd])
            keyStart = entry.keyEnd
            valueStart = entry.valueEnd
        }
        for offset in offsets { output.append(little: offset) }
        output.withUnsafeMutableBytes { bytes in
            let body = UnsafeRawBufferPointer(rebasing: bytes[(start + 4)...])
            bytes.baseAddress!.put(CRC32C.checksum(body), at: start)
        }
        entries.removeAll(keepingCapacity: true)
        keys.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }

    /// Bytes that all keys begin with: those that the first and the last one share.
    private var commonPrefix: Int {
        guard let first = entries.first, entries.count > 1 else { return 0 }
        let lastStart = entries[entries.count - 2].keyEnd
        return keys.withUnsafeBytes { keys in
            commonLength(keys.part(0, first.keyEnd), keys.part(lastStart, keys.count - lastStart))
        }
    }
}

/// How many bytes two strings of bytes share at their beginning.
func commonLength(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let limit = min(left.count, right.count)
    var length = 0
    while length < limit, left[length] == right[length] { length += 1 }
    return length
}
