internal import Glibc
internal import Logging
internal import Synchronization

/// Takes what waits, decides, lays it out, writes and syncs it, makes it visible, and tells who waited.
///
/// It is no thread: `CommitThread` or a test drives it, one at a time.
final class CommitStream: @unchecked Sendable {
    /// Sync times by powers of two of microseconds, and so on; read by `statistics()`.
    struct Figures {
        var commits: UInt64 = 0
        var records: UInt64 = 0
        var syncNanoseconds: UInt64 = 0
        var syncHistogram = [UInt64](repeating: 0, count: 24)
        var failure: DeviceLogError?
        var isFull = false
    }

    let configuration: Configuration
    let catalog: Catalog
    let queue: WriteQueue
    let writer: LogWriter
    let unconfirmed: Unconfirmed
    let reader: RecordReader
    let figures = Mutex(Figures())
    private let space: SpaceGauge
    private let logger: Logger

    let buffer = BatchBuffer()
    let changes: Changes
    private var waiting: [QueuedOperation] = []
    /// Where the batch begins in `waiting`, and what comes after those of it that are decided.
    private var first = 0
    private var next = 0
    /// Of the batch, one after the other.
    private var outcomes: [WriteOutcome] = []
    /// How many of the batch are writes.
    private var writes = 0
    var newPositions: [LogPosition] = []
    var nextPending: UInt64
    private(set) var isFull = false
    private var failure: DeviceLogError?

    init(
        configuration: Configuration, catalog: Catalog, queue: WriteQueue, writer: LogWriter,
        unconfirmed: Unconfirmed, reader: RecordReader, space: SpaceGauge, logger: Logger
    ) {
        self.configuration = configuration
        self.catalog = catalog
        self.queue = queue
        self.writer = writer
        self.unconfirmed = unconfirmed
        self.reader = reader
        self.space = space
        self.logger = logger
        changes = Changes(catalog)
        nextPending = catalog.memory.withLock { $0.nextPending }
    }

    /// Commits one batch; false when nothing waited.
    func commitOnce() -> Bool {
        if next == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            next = 0
            queue.take(into: &waiting)
        }
        guard next < waiting.count else { return false }
        commitBatch()
        return true
    }

    /// Whether part of what was taken from the queue still waits.
    var hasMore: Bool { next < waiting.count }

    /// Seals the log, by which the next start knows that every batch was synced.
    func seal() {
        guard failure == nil else { return }
        do {
            try writer.seal()
        } catch {
            failure = DeviceLogError(error)
            logger.error("The log cannot be sealed", metadata: ["errno": "\(error.errno)"])
        }
    }

    /// Records of the last batch that had any for clients, without those of compaction; for the commit thread.
    private(set) var lastBatchRecords = 0

    // MARK: One batch

    private func commitBatch() {
        changes.removeAll()
        outcomes.removeAll(keepingCapacity: true)
        newPositions.removeAll(keepingCapacity: true)
        isFull = space.isAtReserve()
        let firstPending = nextPending
        waiting.withUnsafeBufferPointer { fillBatch($0) }

        var error = failure
        if error == nil, buffer.records > 0 { error = writeBuffer() }
        if let error {
            nextPending = firstPending
            for index in outcomes.indices { outcomes[index] = .failed(error) }
        } else {
            catalog.apply(changes)
            unconfirmed.add(newPositions)
            waiting.withUnsafeBufferPointer { releaseBlobs($0) }
        }
        noteFigures(records: error == nil ? buffer.records : 0)
        if error == nil, writes > 0 { lastBatchRecords = writes }
        waiting.withUnsafeBufferPointer { deliver($0) }
        // Holding requests and their buffers until the next batch would keep memory for nothing.
        if next == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            next = 0
        }
    }

    /// Decides operations and lays out their records until the batch or the segment is full.
    ///
    /// - Parameter operations: `waiting`, whose elements are looked at where they lie: a copy of each would cost more than most decisions.
    private func fillBatch(_ operations: UnsafeBufferPointer<QueuedOperation>) {
        beginBatch()
        first = next
        writes = 0
        while next < operations.count, outcomes.count < configuration.maximumBatchRecords {
            if failure == nil {
                let size = maximumRecordLength(operations[next])
                if buffer.count + size > writer.room || (buffer.records == 0 && writer.shouldRollEarly) {
                    guard buffer.records == 0 else { return }
                    if let error = rollSegment() {
                        finish(operations[next], .failed(error))
                        continue
                    }
                } else if buffer.count + size > configuration.maximumBatchBytes, buffer.records > 0 {
                    return
                }
            }
            finish(operations[next], decide(operations[next].operation))
        }
    }

    private func beginBatch() {
        buffer.begin(segment: writer.segment, offset: writer.offset, batch: writer.takeBatch(), lead: writer.lead)
    }

    private func finish(_ queued: QueuedOperation, _ outcome: WriteOutcome) {
        outcomes.append(outcome)
        if queued.isWrite { writes += 1 }
        next += 1
    }

    private func decide(_ operation: Operation) -> WriteOutcome {
        if let failure { return .failed(failure) }
        do {
            return try decideOperation(operation)
        } catch {
            return .failed(error)
        }
    }

    private func rollSegment() -> DeviceLogError? {
        do {
            try writer.roll()
            beginBatch()
            return nil
        } catch {
            let reason = DeviceLogError(error)
            if reason != .full { failure = reason }
            logger.error("No new segment", metadata: ["errno": "\(error.errno)"])
            return reason
        }
    }

    /// Nil when the batch is durable.
    private func writeBuffer() -> DeviceLogError? {
        let start = Monotonic.nanoseconds()
        var syncFailed = false
        do {
            try writer.write(buffer) { _ in syncFailed = true }
        } catch {
            let reason = DeviceLogError(error)
            if syncFailed || reason != .full {
                failure = .io(errno: error.errno)
                logger.critical("The device takes no more writes", metadata: ["errno": "\(error.errno)"])
            }
            return failure ?? reason
        }
        let duration = Monotonic.nanoseconds() - start
        figures.withLock { figures in
            figures.syncNanoseconds += duration
            let bits = UInt64.bitWidth - (duration / 1000).leadingZeroBitCount
            figures.syncHistogram[min(bits, figures.syncHistogram.count - 1)] += 1
        }
        return nil
    }

    private func noteFigures(records: Int) {
        figures.withLock { figures in
            figures.commits += 1
            figures.records += UInt64(records)
            figures.failure = failure
            figures.isFull = isFull
        }
    }

    /// Blobs whose put was stored belong to their records now; the others stay with who staged them and may be put again.
    private func releaseBlobs(_ operations: UnsafeBufferPointer<QueuedOperation>) {
        for (index, outcome) in outcomes.enumerated() {
            let blob: StagedBlob
            switch operations[first + index].operation {
            case .write(.put(_, _, _, .blob(let staged), _)): blob = staged
            case .write(.restore(_, _, _, _, .blob(let staged))): blob = staged
            default: continue
            }
            guard case .stored = outcome else { continue }
            // A repetition has its bytes already.
            if changes.layer.blobs[blob.id] != nil { blob.release() } else { blob.discard() }
        }
    }

    // MARK: Answers

    /// One call per sink: there are few, so a list is searched.
    private func deliver(_ operations: UnsafeBufferPointer<QueuedOperation>) {
        var groups: [(sink: any CompletionSink, finished: [FinishedWrite])] = []
        for (index, outcome) in outcomes.enumerated() {
            guard let completion = operations[first + index].completion else { continue }
            let sink = completion.sink
            let write = FinishedWrite(completion: completion, outcome: outcome)
            if let index = groups.firstIndex(where: { $0.sink === sink }) {
                groups[index].finished.append(write)
            } else {
                groups.append((sink, [write]))
                groups[groups.count - 1].finished.reserveCapacity(outcomes.count)
            }
        }
        for group in groups { group.sink.deliver(group.finished) }
    }
}

/// The clock for durations.
enum Monotonic {
    static func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// Whether free space is down to the reserve.
struct SpaceGauge: Sendable {
    let directory: String
    let fileSystem: any FileSystem
    let reserve: Int64?

    func isAtReserve() -> Bool {
        guard let (free, total) = try? fileSystem.space(at: directory) else { return false }
        return free <= reserve ?? Self.defaultReserve(total: total)
    }

    static func defaultReserve(total: Int64) -> Int64 {
        min(max(total / 50, 1 << 30), total / 10)
    }
}
