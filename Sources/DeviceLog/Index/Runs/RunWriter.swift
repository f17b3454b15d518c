internal import Glibc

/// Writes a run: entries in the order of their keys, once. What comes out is a file that never changes again.
struct RunWriter {
    /// A block is ended before it would grow beyond this; a single entry may be larger.
    private static let blockSize = 4000
    private static let pieceSize = 256 << 10

    let number: UInt64
    private let file: any File
    private let memory: BlockMemory
    private var filter: KeyFilter
    private var block = RunBlockBuilder()
    private var output: [UInt8] = []
    private var written: Int64 = 0
    private var fences = RunFences()
    private var lastKey: [UInt8] = []
    private(set) var count: UInt64 = 0
    private var removals: UInt64 = 0

    /// - Parameter limit: at most so many entries will come.
    init(_ file: any File, number: UInt64, limit: Int, memory: BlockMemory) {
        self.file = file
        self.memory = memory
        self.number = number
        filter = KeyFilter(keys: limit)
        output.reserveCapacity(Self.pieceSize + 2 * Self.blockSize)
    }

    /// Takes the next entry; its key is behind that of the last one.
    mutating func add(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, isRemoved: Bool
    ) throws(DeviceLogError) {
        let size = key.count + value.count + RunBlock.entryHeaderSize + 4
        if !block.isEmpty, block.size + size > Self.blockSize { try endBlock() }
        if block.isEmpty {
            // The shortest bytes that are behind the block before, and not behind this key.
            let shared = lastKey.withUnsafeBytes { commonLength($0, key) }
            fences.append(key.part(0, min(shared + 1, key.count)), offset: written + Int64(output.count))
        }
        block.add(key, value, isRemoved: isRemoved)
        filter.insert(KeyFilter.hash(key))
        lastKey.removeAll(keepingCapacity: true)
        lastKey.append(contentsOf: key)
        count += 1
        if isRemoved { removals += 1 }
    }

    /// Writes the rest and makes the file durable.
    mutating func finish() throws(DeviceLogError) -> Run {
        if !block.isEmpty { try endBlock() }
        try flush()
        let tail = RunTail(fences: fences, filter: filter, count: count, removals: removals, end: written)
        output = tail.encoded
        try flush()
        do { try file.sync() } catch { throw DeviceLogError(error) }
        return Run(number: number, file: file, tail: tail, size: written, memory: memory)
    }

    private mutating func endBlock() throws(DeviceLogError) {
        block.finish(to: &output)
        if output.count >= Self.pieceSize { try flush() }
    }

    private mutating func flush() throws(DeviceLogError) {
        do {
            try output.withBytes { (bytes) throws(FileError) in try file.write(bytes, at: written) }
        } catch {
            throw DeviceLogError(error)
        }
        written += Int64(output.count)
        output.removeAll(keepingCapacity: true)
    }
}
