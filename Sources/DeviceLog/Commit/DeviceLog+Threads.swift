internal import CKernel
internal import Glibc
internal import Logging
internal import Synchronization

/// The threads of a device in production: one that commits, one that keeps index and log ready for it, one that compacts.
///
/// The commit thread may wait for the maintenance, and compaction for commits: so the maintenance waits for nobody.
extension DeviceLog {
    private static let maintenancePeriod = 1000
    /// While a segment is being prepared.
    private static let draftingPeriod = 50
    /// Written to a segment before the next one is prepared: a device that is hardly used keeps its space.
    private static let busyBytes: Int64 = 8 << 20
    /// Nanoseconds between two walks over the index for evictions.
    private static let evictionPeriod: UInt64 = 3600 * 1_000_000_000
    private static let compactionNiceness: Int32 = 10
    /// Committed entries beyond which the commit thread waits for the index, in multiples of `memoryEntries`.
    private static let largestBacklog = 2

    func startThreads() {
        let commit = DeviceThread(name: "commit") { [weak self] in self?.runCommits() }
        let maintenance = DeviceThread(name: "maintenance") { [weak self] in self?.runMaintenance() }
        let compaction = DeviceThread(name: "compaction", niceness: Self.compactionNiceness) { [weak self] in
            self?.runCompaction()
        }
        state.withLock { $0.threads = [commit, maintenance, compaction] }
    }

    private func runCommits() {
        while queue.wait() {
            gather()
            while commitOnce() {
                if state.withLock({ $0.flushWanted }) { beginFlush() }
                waitForIndex()
                gather()
            }
        }
    }

    /// Under load lets more writes come before the next sync: a sync costs the processor and the disk as much for one record as for a
    /// hundred, and wakes as many threads. Who writes alone never waits: the last batch tells.
    private func gather() {
        let last = stream.lastBatchRecords
        guard last >= configuration.gatherAbove, queue.count < last * 4, configuration.gatherMicroseconds > 0 else {
            return
        }
        Pause.microseconds(configuration.gatherMicroseconds)
    }

    /// Keeps memory bounded when the index is slower than the log.
    private func waitForIndex() {
        while catalog.isFlushing, catalog.waiting >= configuration.memoryEntries * Self.largestBacklog {
            guard !state.withLock({ $0.isClosed || $0.indexFailure != nil }) else { return }
            maintenance.raise()
            Pause.milliseconds(1)
        }
    }

    private func runMaintenance() {
        var wantsTrim = false
        var load = LoadWatch(head: stream.writer.headForOthers, now: Monotonic.nanoseconds())
        while !state.withLock({ $0.isClosed }) {
            waitForMaintenance()
            load.note(head: stream.writer.headForOthers, now: Monotonic.nanoseconds())
            // Under load the zeros would be a second copy of all that is written: there, batches are large and a sync that has
            // new blocks to record is shared by many. When little is written, each write waits for a sync of its own.
            if load.isQuiet { zeroAhead() }
            if load.isIdle, catalog.waiting > 0 {
                try? flushIndex()
                wantsTrim = true
            }
            removeRetiredBlobs()
            // Failures are logged where they happen, and tried again with the next round.
            var isFlushed = (try? finishFlush()) != nil
            // A flush that waits goes first; the merge then goes on where it was.
            while isFlushed, tidyIndex(), catalog.isFlushing { isFlushed = (try? finishFlush()) != nil }
            if wantsTrim, load.isIdle, catalog.waiting == 0 {
                // What the load needed goes back to the system once it is over.
                kernel_give_back_memory()
                wantsTrim = false
            }
        }
    }

    /// For a signal or until the next round; meanwhile goes on with the next segment.
    private func waitForMaintenance() {
        var left = Self.maintenancePeriod
        repeat {
            let isWanted = stream.writer.wantsSpare(after: Self.busyBytes) && !space.isAtReserve()
            if isWanted { prepareSpare() }
            let time = isWanted && stream.writer.isDrafting ? Self.draftingPeriod : left
            if maintenance.wait(milliseconds: time) { return }
            left -= time
        } while left > 0
    }

    private func runCompaction() {
        let period = configuration.compactionPeriod.components
        let milliseconds = period.seconds * 1000 + period.attoseconds / 1_000_000_000_000_000
        var lastWalk = Monotonic.nanoseconds()
        while !state.withLock({ $0.isClosed }) {
            compaction.wait(milliseconds: Int(max(1, milliseconds)))
            compactAll()
            let now = Monotonic.nanoseconds()
            guard now - lastWalk >= Self.evictionPeriod else { continue }
            lastWalk = now
            walkEvictions()
        }
    }

    private func walkEvictions() {
        do throws(DeviceLogError) { try forgetEvictions() } catch {
            guard error != .closed, !state.withLock({ $0.isClosed }) else { return }
            logger.warning("Evictions can't be forgotten", metadata: ["error": "\(error)"])
        }
    }

    private func compactAll() {
        do throws(DeviceLogError) {
            while !state.withLock({ $0.isClosed }) {
                guard try compact() else { break }
            }
            try recycleEmptySegments()
        } catch {
            if error == .closed || state.withLock({ $0.isClosed }) { return }
            logger.warning("Compaction stopped", metadata: ["error": "\(error)"])
        }
    }

    private func prepareSpare() {
        do { try stream.writer.extendDraft(now: Monotonic.nanoseconds()) } catch {
            logger.warning("No spare segment could be made", metadata: ["errno": "\(error.errno)"])
        }
    }

    private func zeroAhead() {
        var pieces = 0
        do {
            while !space.isAtReserve(), try stream.writer.zeroPiece(ahead: configuration.zeroAhead) {
                pieces += 1
                if catalog.isFlushing { break }
            }
            if pieces > 0 { try stream.writer.syncZeros() }
        } catch {
            logger.warning("Zeroing ahead failed", metadata: ["errno": "\(error.errno)"])
        }
    }
}

/// How much is being written, as seen from round to round of the maintenance.
struct LoadWatch {
    /// Written in one round, at most, by a device that counts as quiet.
    private static let quietBytes: Int64 = 1 << 20
    /// After so many nanoseconds without a write a device is idle.
    private static let idleAfter: UInt64 = 10_000_000_000

    private var head: (segment: UInt32, offset: Int64)
    private var lastWrite: UInt64
    private(set) var isQuiet = false
    private(set) var isIdle = false

    init(head: (segment: UInt32, offset: Int64), now: UInt64) {
        self.head = head
        lastWrite = now
    }

    mutating func note(head: (segment: UInt32, offset: Int64), now: UInt64) {
        let isSame = head.segment == self.head.segment
        isQuiet = isSame && head.offset - self.head.offset < Self.quietBytes
        if !isSame || head.offset != self.head.offset { lastWrite = now }
        isIdle = now - lastWrite >= Self.idleAfter
        self.head = head
    }
}

enum Pause {
    static func milliseconds(_ count: Int) { microseconds(count * 1000) }

    static func microseconds(_ count: Int) { usleep(UInt32(count)) }
}
