internal import Glibc
internal import Logging
internal import Synchronization

/// The two threads of a device in production: one that commits, one for everything that may take its time.
extension DeviceLog {
    private static let maintenancePeriod = 1000
    /// Written in one period, at most, by a device that counts as quiet.
    /// Written to a segment before the next one is prepared: a device that is hardly used keeps its space.
    private static let busyBytes: Int64 = 8 << 20
    private static let quietBytes: Int64 = 1 << 20
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
        var headBefore = stream.writer.zeroingHead
        while !state.withLock({ $0.isClosed }) {
            maintenance.wait(milliseconds: Self.maintenancePeriod)
            // Under load the zeros would be a second copy of all that is written: there, batches are large and a sync that has new
            // blocks to record is shared by many. When little is written, each write waits for a sync of its own.
            let head = stream.writer.zeroingHead
            if stream.writer.wantsSpare(after: Self.busyBytes) { prepareSpare() }
            if head.segment == headBefore.segment, head.offset - headBefore.offset < Self.quietBytes { zeroAhead() }
            headBefore = stream.writer.zeroingHead
            removeRetiredBlobs()
            // Failures are logged where they happen, and tried again with the next round.
            try? finishFlush()
        }
    }

    private func prepareSpare() {
        guard !space.isAtReserve() else { return }
        do { try stream.writer.prepareSpare() } catch {
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

enum Pause {
    static func milliseconds(_ count: Int) {
        usleep(UInt32(count) * 1000)
    }
}
