internal import Glibc
internal import Synchronization

/// A sorted file of entries that never changes: what one flush or one merge wrote. Reads come from any thread.
final class Run: Sendable {
    enum Found<Value> {
        case absent
        case removed
        case value(Value)
    }

    /// Beyond this a tail is damage and not data.
    private static let largestTail: Int64 = 1 << 31

    let number: UInt64
    /// Bytes of the file.
    let size: Int64
    let tail: RunTail
    let file: any File
    private let damage = Atomic<Bool>(false)
    private let kept: KeptBlocks

    /// A block of it could not be read.
    var isDamaged: Bool { damage.load(ordering: .relaxed) }

    func noteDamage() { damage.store(true, ordering: .relaxed) }

    init(number: UInt64, file: any File, tail: RunTail, size: Int64, memory: BlockMemory) {
        kept = KeptBlocks(count: tail.fences.count, in: memory)
        self.number = number
        self.file = file
        self.tail = tail
        self.size = size
    }

    /// Opens a run; throws `.corrupt` when its tail is damaged.
    static func open(_ file: any File, number: UInt64, memory: BlockMemory) throws(DeviceLogError) -> Run {
        let size: Int64
        do { size = try file.length() } catch { throw DeviceLogError(error) }
        let trailer = UnsafeMutableRawBufferPointer.allocate(byteCount: RunTail.trailerSize, alignment: 8)
        defer { trailer.deallocate() }
        try fill(trailer, from: file, at: size - Int64(RunTail.trailerSize))
        guard let start = RunTail.start(UnsafeRawBufferPointer(trailer), fileSize: size), size - start <= largestTail
        else { throw .corrupt }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(size - start), alignment: 8)
        defer { bytes.deallocate() }
        try fill(bytes, from: file, at: start)
        guard let tail = RunTail(UnsafeRawBufferPointer(bytes)) else { throw .corrupt }
        return Run(number: number, file: file, tail: tail, size: size, memory: memory)
    }

    private static func fill(
        _ buffer: UnsafeMutableRawBufferPointer, from file: any File, at offset: Int64
    ) throws(DeviceLogError) {
        guard offset >= 0 else { throw .corrupt }
        let count: Int
        do { count = try file.read(into: buffer, at: offset) } catch {
            // A bad sector is as good as wrong bytes.
            throw error.errno == EIO ? .corrupt : DeviceLogError(error)
        }
        guard count == buffer.count else { throw .corrupt }
    }

    var blockCount: Int { tail.fences.count }

    /// Bytes of a block.
    func length(ofBlock block: Int) -> Int {
        let offsets = tail.fences.offsets
        let end = block + 1 < offsets.count ? offsets[block + 1] : tail.end
        return Int(end - offsets[block])
    }

    /// Reads a block to the beginning of `buffer`, which is large enough, and verifies it.
    func read(block: Int, into buffer: UnsafeMutableRawBufferPointer) throws(DeviceLogError) -> RunBlock {
        let length = length(ofBlock: block)
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
        do throws(DeviceLogError) {
            try Self.fill(target, from: file, at: tail.fences.offsets[block])
            guard let block = RunBlock(UnsafeRawBufferPointer(target)) else { throw .corrupt }
            return block
        } catch {
            if error == .corrupt { noteDamage() }
            throw error
        }
    }

    /// What the run has under a key; `decode` gives nil for a damaged value. Ask the filter first.
    func find<Value>(
        _ key: UnsafeRawBufferPointer, _ decode: (UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Found<Value> {
        guard var number = tail.fences.block(of: key) else { return .absent }
        while true {
            if let found = try find(key, inBlock: number, decode) { return found }
            guard number > 0 else { return .absent }
            number -= 1
        }
    }

    /// Nil when it may be in the block before.
    private func find<Value>(
        _ key: UnsafeRawBufferPointer, inBlock number: Int, _ decode: (UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Found<Value>? {
        let length = length(ofBlock: number)
        if let bytes = kept.bytes(number, length) {
            guard let block = RunBlock(verified: bytes) else { throw .corrupt }
            return try find(key, in: block, number, decode)
        }
        return try withUnsafeTemporaryBytes(length) { (buffer) throws(DeviceLogError) in
            let block = try read(block: number, into: buffer)
            let found = try find(key, in: block, number, decode)
            // Who asks for one that is not there came past the filter by chance.
            if case .value = found { kept.keep(number, block.bytes) }
            return found
        }
    }

    private func find<Value>(
        _ key: UnsafeRawBufferPointer, in block: RunBlock, _ number: Int,
        _ decode: (UnsafeRawBufferPointer) -> Value?
    ) throws(DeviceLogError) -> Found<Value>? {
        guard let place = block.place(of: key) else { throw .corrupt }
        guard place.isEqual else { return place.index == 0 && tail.fences.isCut(number) ? nil : .absent }
        guard let entry = block.entry(place.index) else { throw .corrupt }
        if entry.isRemoved { return .removed }
        guard let value = decode(entry.value) else { throw .corrupt }
        return .value(value)
    }
}
