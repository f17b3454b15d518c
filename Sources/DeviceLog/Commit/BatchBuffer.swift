internal import NIOCore
internal import Ring

/// Where the records of one batch are laid out, to be written with one call. The memory is reused.
final class BatchBuffer {
    /// What is kept between batches; a larger buffer is given back.
    private static let retained = 1 << 20

    private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: directAlignment)
    /// Bytes before the batch, which are on disk already.
    private var lead = 0
    private(set) var count = 0
    private(set) var records = 0
    private var segment: UInt32 = 0
    private var offset: UInt32 = 0
    private var batch: UInt64 = 0

    deinit {
        memory.deallocate()
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(memory).part(lead, count) }

    /// The batch with its lead, and zeros to the end of the last page.
    func pages() -> UnsafeRawBufferPointer {
        let padding = (directAlignment - (lead + count) % directAlignment) % directAlignment
        reserve(padding)
        (memory.baseAddress! + lead + count).initializeMemory(as: UInt8.self, repeating: 0, count: padding)
        return UnsafeRawBufferPointer(memory).part(0, lead + count + padding)
    }

    /// The lead of a batch after this one.
    var lastPage: UnsafeRawBufferPointer {
        let end = lead + count
        return UnsafeRawBufferPointer(memory).part(end - end % directAlignment, end % directAlignment)
    }

    /// - Parameter lead: what the write begins with, up to `offset`.
    func begin(segment: UInt32, offset: UInt32, batch: UInt64, lead: UnsafeRawBufferPointer) {
        if memory.count > Self.retained {
            memory.deallocate()
            memory = .allocate(byteCount: Self.retained, alignment: directAlignment)
        }
        memory.copyMemory(from: lead)
        self.lead = lead.count
        count = 0
        records = 0
        self.segment = segment
        self.offset = offset
        self.batch = batch
    }

    /// Adds a record; place, lengths and checksums of `header` are filled in.
    func append(
        _ header: RecordHeader, metadata: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer
    ) -> RecordLocation {
        let length = RecordHeader.recordLength(metadata: metadata.count, body: body.count)
        reserve(length)
        let start = memory.baseAddress! + lead + count
        let content = start + RecordHeader.size
        if metadata.count > 0 { content.copyMemory(from: metadata.baseAddress!, byteCount: metadata.count) }
        if body.count > 0 { (content + metadata.count).copyMemory(from: body.baseAddress!, byteCount: body.count) }
        let used = RecordHeader.size + metadata.count + body.count
        if length > used { (start + used).initializeMemory(as: UInt8.self, repeating: 0, count: length - used) }

        var header = header
        header.segment = segment
        header.offset = offset + UInt32(count)
        header.length = UInt32(length)
        header.batch = batch
        header.batchOffset = UInt32(count)
        header.metadataLength = UInt32(metadata.count)
        header.bodyLength = UInt32(body.count)
        // Over the copy: what is checked is what is written.
        header.metadataChecksum = CRC32C.checksum(UnsafeRawBufferPointer(start: content, count: metadata.count))
        header.bodyChecksum = CRC32C.checksum(
            UnsafeRawBufferPointer(start: content + metadata.count, count: body.count))
        header.encode(to: start)
        count += length
        records += 1
        return header.location
    }

    func append(_ header: RecordHeader, metadata: ByteBuffer, body: ByteBuffer) -> RecordLocation {
        metadata.withUnsafeReadableBytes { metadata in
            body.withUnsafeReadableBytes { append(header, metadata: metadata, body: $0) }
        }
    }

    private func reserve(_ length: Int) {
        let used = lead + count
        guard used + length > memory.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(memory.count * 2, used + length), alignment: directAlignment)
        larger.copyMemory(from: UnsafeRawBufferPointer(memory).part(0, used))
        memory.deallocate()
        memory = larger
    }
}
