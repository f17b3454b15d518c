internal import Glibc
internal import Synchronization

/// The end of the log: the segment that is written, and the roll to the next one. Used by the commit stream only, but
/// for zeros, which come from the maintenance thread.
final class LogWriter: @unchecked Sendable {
    private struct Zeroing {
        var segment: UInt32 = 0
        var file: (any File)?
        /// Behind it nothing was written yet, neither records nor zeros.
        var filled: Int64 = 0
        var head: Int64 = 0
    }

    /// Zeros are written in pieces of this size, so that the commit stream never waits long for one.
    private static let zeroPiece = 1 << 20

    private let files: SegmentFiles
    private let segmentSize: Int
    private let recent: RecentLog
    private let zeroing = Mutex(Zeroing())
    /// In the hands of the maintenance thread.
    private var draft: SpareDraft?
    private var file: (any File)?
    /// The segment that is written, or the last one when none is open yet.
    private(set) var segment: UInt32
    private(set) var offset: UInt32
    private(set) var nextBatch: UInt64
    private var nextSegment: UInt32
    private var isGrowing = true
    /// The page that the head is in, as far as it is written: a write past the page cache begins with it.
    private let headPage = UnsafeMutableRawBufferPointer.allocate(
        byteCount: directAlignment, alignment: directAlignment)

    /// The log goes on in a new segment, made by the first write; the last one ended at `end`.
    init(
        files: SegmentFiles, recent: RecentLog, segmentSize: Int, last: UInt32, end: UInt32, nextSegment: UInt32,
        nextBatch: UInt64
    ) {
        self.files = files
        self.recent = recent
        self.segmentSize = segmentSize
        segment = last
        offset = end
        self.nextSegment = nextSegment
        self.nextBatch = nextBatch
    }

    deinit { headPage.deallocate() }

    /// Everything durable is before it.
    var head: LogPosition { LogPosition(segment: segment, offset: offset) }
    /// Whether a segment was opened by this writer.
    var isWriting: Bool { file != nil }
    /// Bytes that still fit into the segment.
    var room: Int { file == nil ? 0 : segmentSize - Int(offset) }

    /// Whether the segment grows as it is written, while a file whose blocks are on disk lies ready: leaving it early makes each sync
    /// cheaper from then on.
    var shouldRollEarly: Bool { file != nil && isGrowing && offset >= Self.earlyRoll && files.hasSpare }

    /// What is worth a segment of its own.
    private static let earlyRoll: UInt32 = 8 << 20

    /// Leaves the segment for the next one.
    func roll() throws(FileError) {
        try seal()
        let number = nextSegment
        let next = try files.create(number)
        headPage.initializeMemory(as: UInt8.self, repeating: 0)
        SegmentHeader(segment: number, firstBatch: nextBatch).encode(to: headPage.baseAddress!)
        try next.write(UnsafeRawBufferPointer(headPage).part(0, SegmentHeader.size), at: 0)
        let length = try next.length()
        nextSegment += 1
        file = next
        isGrowing = length < Int64(segmentSize)
        segment = number
        offset = UInt32(SegmentHeader.reserved)
        zeroing.withLock {
            $0 = Zeroing(segment: number, file: next, filled: length, head: Int64(SegmentHeader.reserved))
        }
    }

    /// Goes on with the file of zeros for the segment after this one, as far as it should be by now; from the maintenance thread.
    func extendDraft(now: UInt64) throws(FileError) {
        var draft = self.draft ?? SpareDraft(size: Int64(segmentSize), now: now)
        while let piece = draft.nextPiece(head: headForOthers.offset, now: now) {
            do throws(FileError) { try files.extendDraft(at: piece.offset, by: piece.count) } catch {
                // Begun anew with the next try.
                self.draft = nil
                throw error
            }
            draft.wrote(piece.count)
        }
        self.draft = draft.isWhole ? nil : draft
        if draft.isWhole { try files.finishDraft() }
    }

    /// Whether the file for the next segment was begun and is not whole.
    var isDrafting: Bool { draft != nil }

    /// Ends the segment that is written, if there is one; the next write opens another.
    func seal() throws(FileError) {
        guard let file else { return }
        try SegmentSeal(segment: segment, end: offset, lastBatch: nextBatch - 1).write(to: file)
        self.file = nil
        zeroing.withLock { $0.file = nil }
    }

    /// Number for the batch that is about to be laid out; never given twice.
    func takeBatch() -> UInt64 {
        defer { nextBatch += 1 }
        return nextBatch
    }

    /// What is written before the next batch, so that the write begins at a page: nothing while the segment grows, since a page there is
    /// still in memory and the zeros behind it come through the page cache.
    var lead: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(headPage).part(0, isGrowing ? 0 : Int(offset) % directAlignment)
    }

    /// Writes a batch at the head and makes it durable. When it throws the head stays.
    ///
    /// Where the blocks are on disk it goes past the page cache: copying three replicas there, of which one is read, cost more than
    /// writing them (decision 0010).
    ///
    /// - Parameter buffer: laid out for the head, with its `lead`.
    func write(_ buffer: BatchBuffer, synced: (_ error: FileError) -> Void) throws(FileError) {
        guard let file else { throw FileError(errno: EBADF) }
        let end = Int64(offset) + Int64(buffer.count)
        zeroing.withLock {
            $0.filled = max($0.filled, end)
            $0.head = end
        }
        if isGrowing {
            try file.write(buffer.bytes, at: Int64(offset))
        } else {
            // Rewrites what is durable with the same bytes, which a torn write cannot harm.
            try file.writeDirectly(buffer.pages(), at: Int64(offset) / Int64(directAlignment) * Int64(directAlignment))
        }
        do {
            try file.sync()
        } catch {
            // What the device kept is unknown from here on, and a second fsync would hide that.
            synced(error)
            throw error
        }
        if !isGrowing {
            headPage.copyMemory(from: buffer.lastPage)
            recent.add(buffer.bytes, segment: segment, offset: offset)
        }
        offset = UInt32(end)
    }

    /// Fills one piece behind the head with zeros, so that a sync has no new blocks to record; false when far enough
    /// ahead.
    func zeroPiece(ahead: Int) throws(FileError) -> Bool {
        let result: Result<Bool, FileError> = zeroing.withLock { zeroing in
            let goal = min(zeroing.head + Int64(ahead), Int64(segmentSize))
            guard let file = zeroing.file, zeroing.filled < goal else { return .success(false) }
            let count = min(Self.zeroPiece, Int(goal - zeroing.filled))
            do throws(FileError) {
                try file.write(UnsafeRawBufferPointer(Self.zeros).part(0, count), at: zeroing.filled)
            } catch {
                return .failure(error)
            }
            zeroing.filled += Int64(count)
            return .success(true)
        }
        return try result.get()
    }

    /// Whether enough was written to the segment that the next one is worth preparing.
    func wantsSpare(after bytes: Int64) -> Bool {
        zeroing.withLock { $0.file != nil && $0.head >= bytes } && !files.hasSpare
    }

    /// The head as other threads may ask for it.
    var headForOthers: (segment: UInt32, offset: Int64) { zeroing.withLock { ($0.segment, $0.head) } }

    /// Makes the zeros durable.
    func syncZeros() throws(FileError) {
        try zeroing.withLock { $0.file }?.sync()
    }

    private static nonisolated(unsafe) let zeros: UnsafeMutableRawBufferPointer = {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: zeroPiece, alignment: 4096)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        return bytes
    }()
}
