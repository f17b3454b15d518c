internal import Glibc
internal import Synchronization

/// How much of the index may be kept in memory, all its runs together.
final class BlockMemory: Sendable {
    /// Bytes.
    let limit: Int
    private let used = Atomic<Int>(0)

    init(limit: Int) {
        self.limit = limit
    }

    /// False when there is no room for so many bytes more.
    func take(_ bytes: Int) -> Bool {
        guard used.add(bytes, ordering: .relaxed).newValue > limit else { return true }
        give(bytes)
        return false
    }

    func give(_ bytes: Int) { used.subtract(bytes, ordering: .relaxed) }

    var inUse: Int { used.load(ordering: .relaxed) }
}

/// Blocks of a run in memory: those in which lookups have found something, as long as there is room. They stay until the run goes: which objects are asked for
/// says nothing of the blocks that they lie in, whose order is that of hashes.
///
/// Unchecked: a block is written before others see its address, and never changed.
final class KeptBlocks: @unchecked Sendable {
    private let memory: BlockMemory
    private let count: Int
    /// By block: where it is; 0 while it is not kept.
    private let addresses: UnsafeMutablePointer<Atomic<UInt>>
    private let bytes = Atomic<Int>(0)

    init(count: Int, in memory: BlockMemory) {
        self.memory = memory
        self.count = count
        addresses = .allocate(capacity: count)
        for index in 0..<count { (addresses + index).initialize(to: Atomic(0)) }
    }

    deinit {
        for index in 0..<count {
            free(UnsafeMutableRawPointer(bitPattern: addresses[index].load(ordering: .acquiring)))
        }
        addresses.deinitialize(count: count)
        addresses.deallocate()
        memory.give(bytes.load(ordering: .relaxed))
    }

    /// Nil when the block is not kept.
    func bytes(_ block: Int, _ length: Int) -> UnsafeRawBufferPointer? {
        let address = addresses[block].load(ordering: .acquiring)
        return UnsafeRawPointer(bitPattern: address).map { UnsafeRawBufferPointer(start: $0, count: length) }
    }

    /// Keeps a block that was read and verified, if there is room.
    func keep(_ block: Int, _ source: UnsafeRawBufferPointer) {
        guard memory.take(source.count) else { return }
        guard let start = source.baseAddress, let copy = malloc(source.count) else { return memory.give(source.count) }
        copy.copyMemory(from: start, byteCount: source.count)
        let isFirst = addresses[block].compareExchange(
            expected: 0, desired: UInt(bitPattern: copy), ordering: .acquiringAndReleasing
        ).exchanged
        guard isFirst else {
            free(copy)
            return memory.give(source.count)
        }
        bytes.add(source.count, ordering: .relaxed)
    }
}
