internal import Glibc
internal import NIOCore

/// Reads records back and verifies them.
struct RecordReader: Sendable {
    /// First read when only the metadata is wanted; most metadata is shorter.
    private static let metadataGuess = 2048

    let files: SegmentFiles
    let recent: RecentLog
    /// Reads what is on the disk, whatever is in memory; always blocks.
    var isDirect = false

    /// Header and content (metadata and body). `.corrupt` when either does not verify.
    func record(at location: RecordLocation, mayBlock: Bool) throws(DeviceLogError) -> (RecordHeader, ByteBuffer) {
        var buffer = try read(location, count: Int(location.length), mayBlock)
        let header = try header(buffer, location)
        buffer.moveReaderIndex(forwardBy: RecordHeader.size)
        guard buffer.withUnsafeReadableBytes({ header.verifies(content: $0) }) else { throw .corrupt }
        return (header, buffer)
    }

    /// Header and metadata, without a look at the body.
    func metadata(at location: RecordLocation, mayBlock: Bool) throws(DeviceLogError) -> (RecordHeader, ByteBuffer) {
        var buffer = try read(location, count: min(Int(location.length), Self.metadataGuess), mayBlock)
        let header = try header(buffer, location)
        let length = Int(header.metadataLength)
        if RecordHeader.size + length > buffer.readableBytes {
            buffer = try read(location, count: RecordHeader.size + length, mayBlock)
        }
        buffer.moveReaderIndex(forwardBy: RecordHeader.size)
        guard let metadata = buffer.readSlice(length: length),
            metadata.withUnsafeReadableBytes({ CRC32C.checksum($0) }) == header.metadataChecksum
        else { throw .corrupt }
        return (header, metadata)
    }

    private func header(_ buffer: ByteBuffer, _ location: RecordLocation) throws(DeviceLogError) -> RecordHeader {
        let header = buffer.withUnsafeReadableBytes { bytes in
            bytes.count < RecordHeader.size
                ? nil : RecordHeader(bytes.baseAddress!, segment: location.segment, offset: location.offset)
        }
        guard let header, header.length == location.length else { throw .corrupt }
        return header
    }

    private func read(_ location: RecordLocation, count: Int, _ mayBlock: Bool) throws(DeviceLogError) -> ByteBuffer {
        guard count >= RecordHeader.size else { throw .corrupt }
        if isDirect { return try readDirectly(location, count: count) }
        if let buffer = recent.read(segment: location.segment, offset: location.offset, count: count) { return buffer }
        let file: any File
        do {
            file = try files.file(location.segment)
        } catch {
            // A segment that is gone is damage too.
            throw error.errno == ENOENT ? .corrupt : .io(errno: error.errno)
        }
        let buffer = try file.readBuffer(at: Int64(location.offset), count: count, mayBlock: mayBlock)
        guard buffer.readableBytes == count else { throw .corrupt }
        return buffer
    }

    /// Through a descriptor that is closed again, since few records of a segment are read so.
    private func readDirectly(_ location: RecordLocation, count: Int) throws(DeviceLogError) -> ByteBuffer {
        let lead = Int(location.offset) % directAlignment
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: (lead + count).roundedUpToPage, alignment: directAlignment)
        defer { memory.deallocate() }
        do throws(FileError) {
            let file = try files.openAnew(location.segment)
            let done = try file.readForAudit(into: memory, at: Int64(Int(location.offset) - lead))
            guard done >= lead + count else { throw FileError(errno: ENOENT) }
        } catch {
            throw error.errno == ENOENT ? .corrupt : .io(errno: error.errno)
        }
        return ByteBuffer(bytes: UnsafeRawBufferPointer(memory).part(lead, count))
    }
}

extension File {
    /// Up to `count` bytes; fewer only at the end of the file.
    func readBuffer(at offset: Int64, count: Int, mayBlock: Bool) throws(DeviceLogError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        var failure: DeviceLogError?
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { memory in
            let memory = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
            do throws(FileError) {
                if let done = try readIfCached(into: memory, at: offset) { return done }
                guard mayBlock else {
                    failure = .wouldBlock
                    return 0
                }
                return try read(into: memory, at: offset)
            } catch {
                // EIO is what a bad sector looks like.
                failure = error.errno == EIO ? .corrupt : .io(errno: error.errno)
                return 0
            }
        }
        if let failure { throw failure }
        return buffer
    }
}
