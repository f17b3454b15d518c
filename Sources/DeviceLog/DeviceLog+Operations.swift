internal import Logging
internal import Ring
internal import Synchronization

/// Driving, watching and comparing a device.
extension DeviceLog {
    // MARK: Driving

    /// Commits one batch; false when nothing waited. Only with the manual driver.
    @discardableResult
    package func commitOnce() -> Bool {
        guard stream.commitOnce() else { return false }
        if catalog.waiting >= configuration.memoryEntries || isReplayLong { beginFlush() }
        if case .manual = configuration.driver {
            removeRetiredBlobs()
            if catalog.isFlushing {
                try? finishFlush()
                tidyIndex()
            }
        }
        return true
    }

    /// Moves everything that was committed to the index. With the threaded driver it asks the commit thread to; it
    /// returns at once.
    package func flushIndex() throws(DeviceLogError) {
        switch configuration.driver {
        case .threads:
            state.withLock { $0.flushWanted = true }
            _ = queue.append(
                QueuedOperation(operation: .wake, completion: nil, size: 0),
                limited: false)
        case .manual:
            try finishFlush()
            beginFlush()
            try finishFlush()
        }
    }

    /// Large records fill the log faster than the memory layer; what a start has to read stays bounded all the same.
    private var isReplayLong: Bool {
        let flushed = state.withLock { $0.flushedSegment }
        return stream.writer.segment >= flushed + configuration.maximumReplaySegments && !catalog.isFlushing
    }

    /// Sets the memory layer aside; between batches only.
    func beginFlush() {
        let covered = stream.writer.head
        let floor = state.withLock { state in
            state.flushWanted = false
            return state.restartFloor
        }
        let oldest = [floor, unconfirmed.oldest].compactMap { $0 }.min() ?? covered
        let batch = stream.writer.nextBatch - 1
        guard catalog.beginFlush(covered: covered, batch: batch, unconfirmed: oldest) != nil else { return }
        state.withLock { $0.flushedSegment = covered.segment }
        maintenance.raise()
    }

    func finishFlush() throws(DeviceLogError) {
        guard catalog.isFlushing else { return }
        do {
            let result: Result<Void, DeviceLogError> = flushing.withLock { _ in
                do throws(DeviceLogError) { return .success(try catalog.finishFlush()) } catch {
                    return .failure(error)
                }
            }
            try result.get()
            state.withLock { state in
                state.indexFlushes += 1
                state.indexFailure = nil
            }
        } catch {
            let isNew = state.withLock { state in
                defer { state.indexFailure = error }
                return state.indexFailure == nil
            }
            if isNew { logger.error("The index cannot be written", metadata: ["error": "\(error)"]) }
            throw error
        }
    }

    /// Lets the index merge what is due, until a flush waits; false when that failed. Not with the space that is kept for deletes.
    @discardableResult
    func tidyIndex() -> Bool {
        guard !space.isAtReserve() else { return false }
        return flushing.withLock { _ in
            do throws(DeviceLogError) {
                try catalog.index.tidy { catalog.isFlushing || state.withLock { $0.isClosed } }
                return true
            } catch {
                if error == .corrupt { state.withLock { $0.isIndexDamaged = true } }
                logger.warning("Runs of the index cannot be merged", metadata: ["error": "\(error)"])
                return false
            }
        }
    }

    /// Removes the files of blobs whose records are superseded.
    func removeRetiredBlobs() {
        let retired = catalog.memory.withLock { memory in
            defer { memory.retiredBlobs.removeAll() }
            return memory.retiredBlobs
        }
        // A file that stays is swept at the next start.
        for id in retired { try? blobs.remove(id) }
    }

    /// Commits what is queued, brings the index up to date, gives the directory free. The device answers nothing
    /// afterwards but `.closed`.
    package func close() {
        let (threads, wasClosed) = state.withLock { state in
            defer { state.isClosed = true }
            return (state.threads, state.isClosed)
        }
        guard !wasClosed else { return }
        queue.close()
        maintenance.raise()
        compaction.raise()
        for thread in threads { thread.join() }
        while stream.commitOnce() {}
        removeRetiredBlobs()
        stream.seal()
        if stream.figures.withLock({ $0.failure }) == nil {
            do {
                try finishFlush()
                beginFlush()
                try finishFlush()
            } catch {
                logger.error("Closed without the index", metadata: ["error": "\(error)"])
            }
        }
        do {
            try catalog.index.close(erasing: state.withLock { $0.isIndexDamaged })
        } catch {
            logger.error("The damaged index cannot be removed", metadata: ["error": "\(error)"])
        }
        state.withLock { $0.lock = nil }
    }

    // MARK: Watching

    package var load: DeviceLoad {
        let (commits, nanoseconds) = stream.figures.withLock { ($0.commits, $0.syncNanoseconds) }
        return DeviceLoad(queuedWrites: queue.count, commits: commits, syncNanoseconds: nanoseconds)
    }

    /// Tombstones on the device.
    package var tombstones: Int64 { catalog.memory.withLock { $0.counters.tombstones } }

    package func statistics() -> DeviceStatistics {
        var statistics = DeviceStatistics()
        catalog.memory.withLock { memory in
            statistics.objects = memory.counters.objects
            statistics.tombstones = memory.counters.tombstones
            statistics.rows = memory.counters.rows
            statistics.quarantined = memory.counters.quarantined
            statistics.unidentifiedLosses = memory.counters.unidentifiedLosses
            statistics.liveBytes = memory.liveBytes.values.reduce(0, +)
            statistics.segments = memory.liveBytes.count
        }
        stream.figures.withLock { figures in
            statistics.commits = figures.commits
            statistics.committedRecords = figures.records
            statistics.syncNanoseconds = figures.syncNanoseconds
            statistics.syncHistogram = figures.syncHistogram
            statistics.isReadOnly = figures.failure != nil
            statistics.isFull = figures.isFull
        }
        state.withLock { state in
            statistics.corruptRecords = state.corruptRecords
            statistics.indexFlushes = state.indexFlushes
        }
        if let sizes = try? segmentSizes() {
            statistics.segments = sizes.count
            statistics.garbageBytes = max(0, sizes.values.reduce(0, +) - statistics.liveBytes)
        }
        if let (free, total) = try? directory.fileSystem.space(at: directory.path) {
            statistics.freeBytes = free
            statistics.totalBytes = total
        }
        statistics.queuedWrites = queue.count
        statistics.unconfirmedWrites = unconfirmed.count
        return statistics
    }

    // MARK: Verifying

    /// Compares the digests with the index, entry by entry; false means that the index is damaged. It is thrown away
    /// then when the device is closed, so that the next start rebuilds it. Meaningful only while nothing is written.
    package func verifyIndex() throws(DeviceLogError) -> Bool {
        let computed = Digests()
        for policy in UInt8.min...UInt8.max {
            try versions(
                policy: policy, from: PathHash(high: 0, low: 0), through: PathHash(high: .max, low: .max)
            ) { key, version in
                computed.toggle(key, version)
                return true
            }
        }
        let all = 0..<Digests.buckets
        let isIntact = (UInt8.min...UInt8.max).allSatisfy { policy in
            digest(policy: policy, buckets: all) == computed.value(policy: policy, buckets: all)
        }
        if !isIntact {
            logger.error("The index is damaged, and is rebuilt at the next start")
            state.withLock { $0.isIndexDamaged = true }
        }
        return isIntact
    }

    /// Says that a full comparison with the other replicas brought back what a damaged log had lost: from here on,
    /// what is not there is absent again.
    package func forgetLosses() {
        _ = perform(.forgetLosses)
    }
}
