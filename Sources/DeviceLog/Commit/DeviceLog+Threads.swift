internal import Glibc
internal import Logging
internal import Synchronization

/// The two threads of a device in production: one that commits, one for everything that may take its time.
extension DeviceLog {
    private static let maintenancePeriod = 1000
    /// Nanoseconds between two times that pages of the index are given back.
    private static let releasePeriod: UInt64 = 2_000_000_000
    /// Committed entries beyond which the commit thread waits for the index, in multiples of `memoryEntries`.
    private static let largestBacklog = 4

    func startThreads() {
        let commit = DeviceThread(name: "commit") { [weak self] in self?.runCommits() }
        let maintenance = DeviceThread(name: "maintenance") { [weak self] in self?.runMaintenance() }
        state.withLock { state in
            state.commitThread = commit
            state.maintenanceThread = maintenance
        }
    }

    private func runCommits() {
        while queue.wait() {
            while commitOnce() {
                if state.withLock({ $0.flushWanted }) { beginFlush() }
                if stream.writer.needsZeros(ahead: configuration.zeroAhead) { maintenance.raise() }
                waitForIndex()
            }
        }
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
        let period = UInt64(clamping: configuration.compactionPeriod.components.seconds) * 1_000_000_000
        var nextRelease: UInt64 = 0
        var nextCompaction = Monotonic.nanoseconds() + period
        while !state.withLock({ $0.isClosed }) {
            maintenance.wait(milliseconds: Self.maintenancePeriod)
            zeroAhead()
            removeRetiredBlobs()
            // Failures are logged where they happen, and tried again with the next round.
            try? finishFlush()
            if Monotonic.nanoseconds() >= nextRelease {
                catalog.index.releaseMemory()
                nextRelease = Monotonic.nanoseconds() + Self.releasePeriod
            }
            guard Monotonic.nanoseconds() >= nextCompaction else { continue }
            do {
                while try compact() { zeroAhead() }
                try recycleEmptySegments()
            } catch {
                logger.warning("Compaction stopped", metadata: ["error": "\(error)"])
            }
            nextCompaction = Monotonic.nanoseconds() + period
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

enum Pause {
    static func milliseconds(_ count: Int) {
        usleep(UInt32(count) * 1000)
    }
}
