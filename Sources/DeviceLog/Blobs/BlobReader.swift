internal import Glibc
package import NIOCore

/// The body of a live object in a file of its own. It stays readable while it is held, also when the object is
/// replaced.
package final class BlobReader: Sendable {
    private static let verifiedAtOnce = 1 << 20

    package let length: Int64
    private let file: any File
    private let description: BlobDescription
    private let reportDamage: @Sendable () -> Void

    init(
        length: Int64, file: any File, description: BlobDescription, reportDamage: @escaping @Sendable () -> Void
    ) {
        self.length = length
        self.file = file
        self.description = description
        self.reportDamage = reportDamage
    }

    /// Reads are cheapest when they begin and end at multiples of it: whole blocks are verified.
    package var blockSize: Int { Int(description.blockSize) }

    /// Up to `length` bytes, fewer only at the end of the body; every block it touches was verified.
    ///
    /// Throws `.wouldBlock` only when `mayBlock` is false, `.corrupt` when a block does not verify.
    package func read(offset: Int64, length: Int, mayBlock: Bool) throws(DeviceLogError) -> ByteBuffer {
        guard offset >= 0, offset < self.length, length > 0 else { return ByteBuffer() }
        let end = min(offset &+ Int64(length) < offset ? Int64.max : offset + Int64(length), self.length)
        let size = Int64(blockSize)
        let firstBlock = offset / size
        let start = firstBlock * size
        let readEnd = min((end + size - 1) / size * size, self.length)
        var buffer = try file.readBuffer(at: start, count: Int(readEnd - start), mayBlock: mayBlock)
        let isSound = buffer.withUnsafeReadableBytes { verifies($0, from: Int(firstBlock)) }
        guard Int64(buffer.readableBytes) == readEnd - start, isSound else {
            reportDamage()
            throw .corrupt
        }
        buffer.moveReaderIndex(forwardBy: Int(offset - start))
        return buffer.getSlice(at: buffer.readerIndex, length: Int(end - offset)) ?? ByteBuffer()
    }

    /// Reads the whole body from the disk, past the page cache, and verifies it. Blocks; about a megabyte of memory.
    ///
    /// Throws `.corrupt` when a block does not verify.
    ///
    /// - Parameter advance: told of bytes that were read; false ends it.
    /// - Returns: false when `advance` ended it.
    package func verify(advance: (Int) -> Bool) throws(DeviceLogError) -> Bool {
        let piece = max(1, Self.verifiedAtOnce / blockSize) * blockSize
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(min(Int64(piece), length)).roundedUpToPage, alignment: directAlignment)
        defer { memory.deallocate() }
        var offset: Int64 = 0
        while offset < length {
            let count = Int(min(Int64(piece), length - offset))
            let target = UnsafeMutableRawBufferPointer(rebasing: memory[..<count.roundedUpToPage])
            let done: Int
            do { done = try file.readForAudit(into: target, at: offset) } catch { throw DeviceLogError(error) }
            let bytes = UnsafeRawBufferPointer(target).part(0, count)
            guard done >= count, verifies(bytes, from: Int(offset) / blockSize) else {
                reportDamage()
                throw .corrupt
            }
            offset += Int64(count)
            guard advance(count) else { return false }
        }
        return true
    }

    private func verifies(_ bytes: UnsafeRawBufferPointer, from firstBlock: Int) -> Bool {
        var done = 0
        var block = firstBlock
        while done < bytes.count {
            let count = min(blockSize, bytes.count - done)
            guard CRC32C.checksum(bytes.part(done, count)) == description.checksums[block] else { return false }
            done += count
            block += 1
        }
        return true
    }
}
