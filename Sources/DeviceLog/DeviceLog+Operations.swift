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
                QueuedOperation(operation: .forget(ObjectKey.none, timestamp: 0), completion: nil, size: 0),
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

    // MARK: Comparing

    /// XOR over the digests of everything whose hash begins with one of these 16-bit values.
    package func digest(policy: UInt8, buckets: Range<Int>) -> UInt64 {
        catalog.memory.withLock { $0.digests.value(policy: policy, buckets: buckets) }
    }

    /// Keys and versions of everything whose hash begins with one of these 16-bit values, tombstones too, in the
    /// order of the hashes, until `visit` says false.
    package func versions(
        policy: UInt8, buckets: Range<Int>, visit: (ObjectKey, ObjectVersion) -> Bool
    ) throws(DeviceLogError) {
        let buckets = buckets.clamped(to: 0..<Digests.buckets)
        guard !buckets.isEmpty else { return }
        func isWanted(_ key: ObjectKey) -> Bool {
            key.policy == policy && buckets.contains(Int(key.hash.high >> 48))
        }
        // Memory first, as with lookups.
        var recent: [ObjectTable.Slot] = catalog.memory.withLock { memory in
            memory.active.objects.sorted().filter { isWanted($0.key) }
        }
        let older = catalog.memory.withLock { $0.flushing?.layer.objects.sorted().filter { isWanted($0.key) } ?? [] }
        recent = Self.merge(recent, over: older)
        var next = 0
        var isStopped = false
        func emit(_ key: ObjectKey, _ entry: ObjectEntry) -> Bool {
            if entry.kind != .removed, !visit(key, entry.version) { isStopped = true }
            return !isStopped
        }
        let first = ObjectKey(policy: policy, hash: PathHash(high: UInt64(buckets.lowerBound) << 48, low: 0))
        try catalog.index.scanObjects(from: first) { key, entry in
            guard isWanted(key) else { return false }
            while next < recent.count, recent[next].key.hash < key.hash {
                next += 1
                guard emit(recent[next - 1].key, recent[next - 1].entry) else { return false }
            }
            if next < recent.count, recent[next].key == key {
                next += 1
                return emit(key, recent[next - 1].entry)
            }
            return emit(key, entry)
        }
        while !isStopped, next < recent.count {
            next += 1
            _ = emit(recent[next - 1].key, recent[next - 1].entry)
        }
    }

    private static func merge(_ upper: [ObjectTable.Slot], over lower: [ObjectTable.Slot]) -> [ObjectTable.Slot] {
        var merged: [ObjectTable.Slot] = []
        var index = 0
        for slot in upper {
            while index < lower.count, lower[index].key.hash <= slot.key.hash {
                if lower[index].key.hash != slot.key.hash { merged.append(lower[index]) }
                index += 1
            }
            merged.append(slot)
        }
        return merged + lower[index...]
    }

    /// Compares the digests with the index, entry by entry; false means that the index is damaged. It is thrown away
    /// then when the device is closed, so that the next start rebuilds it. Meaningful only while nothing is written.
    package func verifyIndex() throws(DeviceLogError) -> Bool {
        let computed = Digests()
        for policy in UInt8.min...UInt8.max {
            try versions(policy: policy, buckets: 0..<Digests.buckets) { key, version in
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

    /// Forgets a tombstone that every replica has confirmed; false when an older record of the object may still be in
    /// the log, where a rebuild would find it: try again after compaction.
    package func forgetTombstone(_ key: ObjectKey, timestamp: UInt64) throws(DeviceLogError) -> Bool {
        guard let entry = try catalog.object(key), entry.kind == .tombstone, entry.timestamp == timestamp else {
            return false
        }
        guard let oldest = try segmentSizes().keys.min(), oldest > entry.data.segment else { return false }
        if case .stored = perform(.forget(key, timestamp: timestamp)) { return true }
        return false
    }
}

extension ObjectKey {
    /// A key that nothing has.
    static let none = ObjectKey(policy: 255, hash: PathHash(high: 0, low: 0))
}
