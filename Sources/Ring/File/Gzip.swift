internal import CZlib

/// Writes one gzip member, with full flushes where a reader may start and the compression level changeable in between.
struct GzipWriter: ~Copyable {
    /// On the heap: zlib keeps its address.
    private let stream: UnsafeMutablePointer<z_stream>
    private let header: UnsafeMutablePointer<gz_header>
    private(set) var output: [UInt8] = []
    /// Bytes written so far, before compression.
    private(set) var uncompressedCount = 0

    /// The time in every ring file's header: equal rings are equal files (OpenStack Swift's `RingData.save`).
    private static let modificationTime: UInt = 1_300_507_380
    private static let outputStep = 64 << 10

    init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        header = .allocate(capacity: 1)
        header.initialize(to: gz_header())
        header.pointee.time = Self.modificationTime
        header.pointee.os = 255
        // 31 = the largest window, with a gzip wrapper. Level 6 and the default memory level: a few MiB at most.
        let size = Int32(MemoryLayout<z_stream>.size)
        let opened = deflateInit2_(
            stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size)
        precondition(opened == Z_OK, "zlib has no memory for a compressor")
        deflateSetHeader(stream, header)
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
        header.deallocate()
    }

    mutating func write(_ bytes: [UInt8]) {
        uncompressedCount += bytes.count
        run(bytes, Z_NO_FLUSH)
    }

    /// Ends a block so that a raw inflate can start at `output.count`.
    mutating func flush() {
        run([], Z_FULL_FLUSH)
    }

    /// Sets whether what follows is stored or compressed; call it after `flush`.
    mutating func store(_ stored: Bool) {
        withOutput { deflateParams($0, stored ? 0 : Z_DEFAULT_COMPRESSION, Z_DEFAULT_STRATEGY) }
    }

    mutating func finish() {
        run([], Z_FINISH)
    }

    private mutating func run(_ bytes: [UInt8], _ flush: Int32) {
        bytes.withUnsafeBufferPointer { input in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            stream.pointee.avail_in = UInt32(input.count)
            repeat { withOutput { deflate($0, flush) } } while stream.pointee.avail_out == 0
            stream.pointee.next_in = nil
        }
    }

    /// Calls zlib with fresh room for its output and keeps what it wrote.
    private mutating func withOutput(_ body: (UnsafeMutablePointer<z_stream>) -> Int32) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.outputStep) { room in
            stream.pointee.next_out = room.baseAddress
            stream.pointee.avail_out = UInt32(room.count)
            _ = body(stream)
            output.append(contentsOf: room[..<(room.count - Int(stream.pointee.avail_out))])
        }
    }
}

/// Reads one gzip member, or from a full flush inside one, piece by piece, so that a caller decides how much it accepts before memory is
/// taken for it.
struct GzipReader: ~Copyable {
    /// On the heap: zlib keeps its address.
    private let stream: UnsafeMutablePointer<z_stream>
    private let input: [UInt8]
    private var consumed = 0
    private var ended = false
    /// If set, takes in everything that `read` gives.
    var digest: SHA256?

    /// Reads from the start, or from an `offset` in the compressed bytes that follows a full flush.
    init(_ input: [UInt8], offset: Int = 0) {
        self.input = input
        consumed = min(max(offset, 0), input.count)
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 31 = the largest window, with a gzip wrapper; -15 = the same without a wrapper.
        let window: Int32 = offset == 0 ? 31 : -15
        let opened = inflateInit2_(stream, window, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(opened == Z_OK, "zlib has no memory for a decompressor")
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Fills `buffer`, or as much of it as there is before the end, and gives the number of bytes read.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(RingFileError) -> Int {
        guard !ended, !buffer.isEmpty else { return 0 }
        guard !input.isEmpty else { throw .truncated }
        var filled = 0
        var failure: RingFileError?
        input.withUnsafeBufferPointer { source in
            guard let start = source.baseAddress, let target = buffer.baseAddress else { return }
            while filled < buffer.count, !ended, failure == nil {
                stream.pointee.next_in = UnsafeMutablePointer(mutating: start + consumed)
                stream.pointee.avail_in = UInt32(min(source.count - consumed, 1 << 30))
                let offered = stream.pointee.avail_in
                let room = UInt32(min(buffer.count - filled, 1 << 30))
                stream.pointee.next_out = target.assumingMemoryBound(to: UInt8.self) + filled
                stream.pointee.avail_out = room
                let status = inflate(stream, Z_NO_FLUSH)
                consumed += Int(offered - stream.pointee.avail_in)
                filled += Int(room - stream.pointee.avail_out)
                switch status {
                case Z_STREAM_END: ended = true
                case Z_OK: break
                case Z_BUF_ERROR: failure = .truncated
                default: failure = .notGzip
                }
            }
            stream.pointee.next_in = nil
        }
        if let failure { throw failure }
        return filled
    }

    /// Exactly `count` bytes; memory is taken as they arrive, never on the word of a length field alone.
    mutating func read(_ count: Int) throws(RingFileError) -> [UInt8] {
        let bytes = try read(upTo: count)
        guard bytes.count == count else { throw .truncated }
        return bytes
    }

    /// At most `count` bytes, fewer only at the end.
    mutating func read(upTo count: Int) throws(RingFileError) -> [UInt8] {
        let step = 256 << 10
        var bytes = [UInt8]()
        while bytes.count < count {
            let wanted = min(step, count - bytes.count)
            let start = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: wanted))
            var got = 0
            var failure: RingFileError?
            bytes.withUnsafeMutableBytes { buffer in
                do throws(RingFileError) {
                    got = try read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[start...]))
                } catch { failure = error }
            }
            if let failure { throw failure }
            guard got == wanted else {
                bytes.removeLast(wanted - got)
                break
            }
        }
        digest?.update(bytes)
        return bytes
    }

    /// Checks that the member ends here and that its checksum is right.
    mutating func expectEnd() throws(RingFileError) {
        guard try read(upTo: 1).isEmpty else { throw .trailingBytes }
    }
}
