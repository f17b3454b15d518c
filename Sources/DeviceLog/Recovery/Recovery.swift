internal import Glibc
internal import Logging
internal import Ring

/// Brings catalog and log together at the start: replays what the index does not cover, finds the end of the log.
///
/// Batch N + 1 is written only after batch N was synced, so only the last batch can be torn: its records are verified
/// wholly, and the first that fails ends the log. Damage before it is corruption; it is passed over and counted.
struct Recovery {
    /// Where and how the log goes on.
    struct Result {
        var lastSegment: UInt32
        var end: UInt32
        var nextSegment: UInt32
        var nextBatch: UInt64
        /// Keys of object writes that were not confirmed.
        var unconfirmed: [ObjectKey]
        /// The oldest position of those.
        var oldestUnconfirmed: LogPosition?
        var replayedRecords: Int
    }

    let catalog: Catalog
    let files: SegmentFiles
    let configuration: Configuration
    let logger: Logger

    func run() throws(DeviceLogError) -> Result {
        let segments = try list()
        try requireKnownFormat(segments)
        let state = try usableState(segments)
        var replay = Replay(catalog: catalog, state: state, memoryEntries: configuration.memoryEntries)
        let seals = try seals(of: segments)
        try replay.walk(segments, seals: seals, files: files) { done, all in
            // An ordinary start reads a few.
            guard all > Int(configuration.maximumReplaySegments) + 1 else { return }
            logger.notice("Reading the log", metadata: ["segments": "\(done)", "of": "\(all)"])
        }
        try replay.finish()
        if replay.losses > 0 {
            logger.error("Records were lost in the log", metadata: ["places": "\(replay.losses)"])
        }
        let end = replay.end
        for segment in segments where segment >= end.segment && seals[segment] == nil {
            let offset = segment == end.segment ? end.offset : UInt32(SegmentHeader.reserved)
            try seal(SegmentSeal(segment: segment, end: offset, lastBatch: replay.highestBatch))
        }
        return Result(
            lastSegment: end.segment, end: end.offset,
            nextSegment: max(segments.last ?? 0, state.covered.segment, end.segment) + 1,
            nextBatch: max(replay.highestBatch, state.batch) + 1, unconfirmed: replay.unconfirmed,
            oldestUnconfirmed: replay.oldestUnconfirmed, replayedRecords: replay.records)
    }

    private func list() throws(DeviceLogError) -> [UInt32] {
        do { return try files.scan() } catch { throw DeviceLogError(error) }
    }

    /// What a newer program wrote would look like damage, and be given up.
    private func requireKnownFormat(_ segments: [UInt32]) throws(DeviceLogError) {
        for segment in segments {
            let version: UInt32?
            do { version = try SegmentHeader.version(of: files.file(segment)) } catch { throw DeviceLogError(error) }
            guard let version, version != SegmentHeader.version else { continue }
            throw .otherFormat(files.path(segment), version, known: SegmentHeader.version)
        }
    }

    private func seals(of segments: [UInt32]) throws(DeviceLogError) -> [UInt32: SegmentSeal] {
        var seals: [UInt32: SegmentSeal] = [:]
        do {
            for segment in segments { seals[segment] = try SegmentSeal.read(segment, from: files.file(segment)) }
        } catch {
            throw DeviceLogError(error)
        }
        return seals
    }

    /// Ends a segment where a crash left it: nothing is ever written behind a torn batch.
    private func seal(_ seal: SegmentSeal) throws(DeviceLogError) {
        do {
            let file = try files.file(seal.segment)
            // After a kill without a power loss, what was read may be in memory only.
            try file.sync()
            try seal.write(to: file)
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// The state of the index, or of an empty one when it does not fit the log.
    private func usableState(_ segments: [UInt32]) throws(DeviceLogError) -> IndexState {
        do {
            if let state = try catalog.index.state() {
                let known = Set(segments)
                let missing = state.liveBytes.contains { $0.value > 0 && !known.contains($0.key) }
                let isBehindLog = state.covered.segment > segments.last ?? 0
                if !missing, !isBehindLog {
                    try catalog.load(state)
                    return state
                }
            } else if segments.isEmpty {
                return IndexState()
            }
            logger.notice("Rebuilding the index from the log")
        } catch {
            logger.error("The index is damaged and is rebuilt from the log", metadata: ["error": "\(error)"])
        }
        try catalog.index.erase()
        return IndexState()
    }
}
