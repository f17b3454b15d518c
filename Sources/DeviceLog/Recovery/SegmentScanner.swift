/// Walks the records of one segment by their headers, and finds its way again behind damage.
final class SegmentScanner {
    enum Event: Equatable {
        case record(RecordHeader)
        /// Bytes between two records, or before the known end, that are no record.
        case damage(from: UInt32, to: UInt32)
        /// Nothing more; `offset` is behind the last record.
        case end
    }

    private static let windowSize = 256 << 10
    /// When the whole segment is read from the disk, past the page cache.
    private static let directWindowSize = 2 << 20

    let segment: UInt32
    private let file: any File
    private let limit: UInt32
    private let isLimitKnown: Bool
    private let isDirect: Bool
    private var window: UnsafeMutableRawBufferPointer
    private var windowStart = 0
    private var windowCount = 0
    /// Where the next record is expected.
    private(set) var offset: UInt32
    /// Records of earlier batches are leftovers of a write that failed.
    var minimumBatch: UInt64

    /// - Parameters:
    ///   - end: behind the last record, when the following segment tells it.
    ///   - isDirect: past the page cache; what the disk cannot read is damage then, and no error.
    init(
        segment: UInt32, file: any File, from offset: UInt32, end: UInt32?, minimumBatch: UInt64, isDirect: Bool = false
    ) throws(FileError) {
        self.segment = segment
        self.file = file
        self.offset = offset
        self.minimumBatch = minimumBatch
        let length = UInt32(clamping: try file.length())
        limit = min(end ?? length, length)
        isLimitKnown = end != nil
        self.isDirect = isDirect
        let size = isDirect ? Self.directWindowSize : Self.windowSize
        window = .allocate(byteCount: min(size, max(Int(limit), 1).roundedUpToPage), alignment: directAlignment)
    }

    deinit {
        window.deallocate()
    }

    func next() throws(FileError) -> Event {
        if let header = try header(at: offset) {
            offset = header.end
            minimumBatch = max(minimumBatch, header.batch)
            return .record(header)
        }
        let start = offset
        guard start < limit else { return .end }
        if let found = try resynchronise() {
            offset = found
            return .damage(from: start, to: found)
        }
        guard isLimitKnown else { return .end }
        offset = limit
        return .damage(from: start, to: limit)
    }

    /// Metadata and body of a record, when they verify; valid until the next call.
    func content(of header: RecordHeader) throws(FileError) -> UnsafeRawBufferPointer? {
        let count = Int(header.metadataLength) + Int(header.bodyLength)
        guard let bytes = try bytes(at: Int(header.offset) + RecordHeader.size, count: count),
            header.verifies(content: bytes)
        else { return nil }
        return bytes
    }

    private func header(at offset: UInt32) throws(FileError) -> RecordHeader? {
        guard let bytes = try bytes(at: Int(offset), count: RecordHeader.size),
            let header = RecordHeader(bytes.baseAddress!, segment: segment, offset: offset),
            header.batch >= minimumBatch, Int(offset) + Int(header.length) <= Int(limit)
        else { return nil }
        return header
    }

    /// The next place with an intact header; records begin at multiples of 8.
    private func resynchronise() throws(FileError) -> UInt32? {
        var place = Int(offset) + 8
        while place + RecordHeader.size <= Int(limit) {
            let count = min(Self.windowSize / 2, Int(limit) - place)
            guard let bytes = try bytes(at: place, count: count), let start = bytes.baseAddress else { return nil }
            var index = 0
            while index + 8 <= count {
                if start.get(UInt32.self, at: index) == RecordHeader.magic {
                    // Reading the header may move the window.
                    if try header(at: UInt32(place + index)) != nil { return UInt32(place + index) }
                    break
                }
                index += 8
            }
            place += index + 8 <= count ? index + 8 : max(index, 8)
        }
        return nil
    }

    private func bytes(at start: Int, count: Int) throws(FileError) -> UnsafeRawBufferPointer? {
        guard start + count <= Int(limit) else { return nil }
        if start < windowStart || start + count > windowStart + windowCount {
            let place = isDirect ? start / directAlignment * directAlignment : start
            let needed = start - place + count
            if needed > window.count {
                window.deallocate()
                window = .allocate(byteCount: needed.roundedUpToPage, alignment: directAlignment)
            }
            windowStart = place
            windowCount = 0
            windowCount = try fill()
            guard windowCount >= needed else { return nil }
        }
        return UnsafeRawBufferPointer(window).part(start - windowStart, count)
    }

    /// Reads from `windowStart` on; how many bytes there were.
    private func fill() throws(FileError) -> Int {
        let left = Int(limit) - windowStart
        let wanted = min(window.count, isDirect ? left.roundedUpToPage : left)
        let memory = UnsafeMutableRawBufferPointer(rebasing: window[..<wanted])
        let place = Int64(windowStart)
        return isDirect ? try file.readForAudit(into: memory, at: place) : try file.read(into: memory, at: place)
    }
}
