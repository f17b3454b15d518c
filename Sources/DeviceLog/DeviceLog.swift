internal import Glibc
package import Logging
package import NIOCore
internal import Ring
internal import Synchronization

/// One disk: a log of records that is the truth, an index that is a cache of it, and one sync for everybody who waits.
///
/// Writes are queued with `submit` and decided, written and synced in batches on the commit stream; an outcome other
/// than `.failed` is durable. Reads come from any thread and see everything whose outcome was delivered. Every byte
/// that is returned was verified.
package final class DeviceLog: Sendable {
    let directory: DeviceDirectory
    let configuration: Configuration
    let logger: Logger
    let catalog: Catalog
    let files: SegmentFiles
    let blobs: BlobFiles
    let reader: RecordReader
    let queue: WriteQueue
    let stream: CommitStream
    let space: SpaceGauge
    let unconfirmed: Unconfirmed
    let standing: Standing
    let maintenance = Signal()
    let compaction = Signal()
    let state: Mutex<State>
    /// Held by whoever writes to the index.
    let flushing = Mutex(())

    struct State {
        var lock: (any File)?
        var threads: [DeviceThread] = []
        var unconfirmedAfterRestart: [ObjectKey]
        /// Until `confirmRestart`, writes from here on count as not confirmed.
        var restartFloor: LogPosition?
        var isClosed = false
        var flushWanted = false
        var corruptRecords: UInt64 = 0
        var indexFlushes: UInt64 = 0
        var indexFailure: DeviceLogError?
        var isIndexDamaged = false
        /// Segments that hold damaged records and cannot be emptied.
        var stuckSegments: Set<UInt32> = []
        /// Segments before it are emptied whether they have garbage or not, since too many evictions wait for that.
        var rewriteBefore: UInt32 = 0
        var onDamage: (@Sendable (ObjectKey) -> Void)?
        /// Where the last flush began.
        var flushedSegment: UInt32 = 0
    }

    /// Opens or creates the device in a directory, and recovers it.
    ///
    /// Throws `.refused` when the directory belongs to another cluster, device or format, `.inUse` when it is open
    /// already.
    ///
    /// - Parameter isNewcomer: if the directory is empty, the device joins others that have data: it is behind everywhere until `place`.
    package static func open(
        directory: String, identity: DeviceIdentity, isNewcomer: Bool = false,
        fileSystem: any FileSystem = POSIXFileSystem(), configuration: Configuration = Configuration(), logger: Logger
    ) throws(DeviceLogError) -> DeviceLog {
        try open(
            directory: directory, identity: identity, isNewcomer: isNewcomer, fileSystem: fileSystem,
            configuration: configuration, logger: logger, index: nil)
    }

    /// As above; `index` replaces the index in the directory.
    static func open(
        directory: String, identity: DeviceIdentity, isNewcomer: Bool = false, fileSystem: any FileSystem,
        configuration: Configuration, logger: Logger, index: (any IndexStore)?
    ) throws(DeviceLogError) -> DeviceLog {
        let directory = DeviceDirectory(path: directory, fileSystem: fileSystem)
        let lock = try directory.prepare()
        try directory.checkFormat()
        let standing = try Standing(directory)
        // Before `device.json`, after which the directory is no longer a new one.
        if isNewcomer, try directory.isNew() { try standing.change { $0.everywhere = true } }
        try directory.check(identity)
        let store: any IndexStore = if let index { index } else { try openIndex(directory, configuration, logger) }
        let log = try DeviceLog(directory, standing, configuration, logger, lock, store)
        switch configuration.driver {
        case .threads: log.startThreads()
        case .manual: log.removeRetiredBlobs()
        }
        return log
    }

    private init(
        _ directory: DeviceDirectory, _ standing: Standing, _ configuration: Configuration, _ logger: Logger,
        _ lock: any File, _ index: any IndexStore
    ) throws(DeviceLogError) {
        self.directory = directory
        self.standing = standing
        self.configuration = configuration
        self.logger = logger
        files = SegmentFiles(
            directory: directory.log, fileSystem: directory.fileSystem,
            maximumSpares: configuration.maximumSpareSegments)
        let found: Found
        do {
            found = try Self.recover(index, files, directory, configuration, logger)
        } catch {
            guard error == .corrupt else { throw error }
            logger.error("The index is damaged and is rebuilt from the log")
            try index.erase()
            found = try Self.recover(index, files, directory, configuration, logger)
        }
        let recovered = found.recovered
        catalog = found.catalog
        blobs = found.blobs
        let recent = RecentLog(capacity: configuration.recentBytes)
        reader = RecordReader(files: files, recent: recent)
        queue = WriteQueue(
            maximumWrites: configuration.maximumQueuedWrites, maximumBytes: configuration.maximumQueuedBytes)
        unconfirmed = Unconfirmed(limit: configuration.maximumUnconfirmed)
        space = SpaceGauge(
            directory: directory.path, fileSystem: directory.fileSystem, reserve: configuration.reserve)
        let writer = LogWriter(
            files: files, recent: recent, segmentSize: configuration.segmentSize, last: recovered.lastSegment,
            end: recovered.end,
            nextSegment: recovered.nextSegment, nextBatch: recovered.nextBatch)
        stream = CommitStream(
            configuration: configuration, catalog: catalog, queue: queue, writer: writer, unconfirmed: unconfirmed,
            reader: reader, space: space, logger: logger)
        state = Mutex(
            State(
                lock: lock, unconfirmedAfterRestart: recovered.unconfirmed,
                restartFloor: recovered.oldestUnconfirmed, flushedSegment: recovered.lastSegment))
    }

    private struct Found {
        let catalog: Catalog
        let blobs: BlobFiles
        let recovered: Recovery.Result
    }

    /// Brings index, log and blobs together; throws `.corrupt` when the index is damaged.
    private static func recover(
        _ index: any IndexStore, _ files: SegmentFiles, _ directory: DeviceDirectory, _ configuration: Configuration,
        _ logger: Logger
    ) throws(DeviceLogError) -> Found {
        let catalog = Catalog(index: index)
        let recovered = try Recovery(catalog: catalog, files: files, configuration: configuration, logger: logger).run()
        let blobs = BlobFiles(
            directory: directory.blobs, fileSystem: directory.fileSystem, first: UInt64(recovered.nextSegment) << 32)
        let unused = try blobs.unused { (id) throws(DeviceLogError) in try catalog.hasBlob(id) }
        if !unused.isEmpty {
            logger.info("Blobs without a record are removed", metadata: ["blobs": "\(unused.count)"])
            // By the maintenance: giving back the space of large files takes seconds, and a start waits for nothing.
            catalog.memory.withLock { $0.retiredBlobs += unused }
        }
        return Found(catalog: catalog, blobs: blobs, recovered: recovered)
    }

    /// A damaged index is removed: the log has everything.
    private static func openIndex(
        _ directory: DeviceDirectory, _ configuration: Configuration, _ logger: Logger
    ) throws(DeviceLogError) -> any IndexStore {
        func open() throws(DeviceLogError) -> RunIndex {
            try RunIndex(
                directory: directory.index, fileSystem: directory.fileSystem,
                policy: MergePolicy(smallest: configuration.indexRunSize),
                memory: BlockMemory(limit: configuration.indexMemory))
        }
        do {
            return try open()
        } catch {
            switch error {
            case .corrupt: logger.error("The index is damaged and is rebuilt from the log")
            case .refused(let reason):
                logger.notice("The index is rebuilt from the log", metadata: ["reason": "\(reason)"])
            // A full disk, say, is no damage.
            case .wouldBlock, .quarantined, .full, .busy, .tooLarge, .io, .inUse, .closed: throw error
            }
            do { try RunIndex.destroy(directory.index, directory.fileSystem) } catch { throw DeviceLogError(error) }
            return try open()
        }
    }

    // MARK: Objects

    /// The object under a key: index lookup, read, verification.
    ///
    /// With `mayBlock` false, `.wouldBlock` says that the record is not in memory: call again on a thread that may
    /// wait. `.corrupt` says that this read found damage, `.quarantined` that an earlier one did; neither is ever
    /// answered with `.absent`.
    package func object(
        _ key: ObjectKey, body: BodyWanted = .inline, mayBlock: Bool
    ) throws(DeviceLogError) -> ObjectState {
        try object(key, body: body, mayBlock: mayBlock, reader: reader)
    }

    /// - Parameter reader: decides whether memory counts, or only the disk.
    func object(
        _ key: ObjectKey, body: BodyWanted, mayBlock: Bool, reader: RecordReader
    ) throws(DeviceLogError) -> ObjectState {
        // Compaction may move a record between lookup and read: then the index has a newer place.
        var attempts = 0
        while true {
            guard let entry = try catalog.object(key) else { return try absent() }
            switch entry.kind {
            case .removed, .evicted: return try absent()
            case .tombstone: return .tombstone(timestamp: entry.timestamp)
            case .quarantined: throw .quarantined
            case .live: break
            }
            do {
                return .live(try read(key, entry, body, mayBlock, reader))
            } catch {
                guard error == .corrupt else { throw error }
                attempts += 1
                if attempts < 3, try catalog.object(key) != entry { continue }
                reportDamage(key, entry)
                throw error
            }
        }
    }

    /// The metadata of a tombstone; nil when the newest record is none.
    package func tombstoneMetadata(_ key: ObjectKey) throws(DeviceLogError) -> ByteBuffer? {
        guard let entry = try catalog.object(key), entry.kind == .tombstone else { return nil }
        return try reader.metadata(at: entry.record, mayBlock: true).1
    }

    /// What the index knows; reads no record.
    package func version(of key: ObjectKey) throws(DeviceLogError) -> ObjectVersion {
        guard let entry = try catalog.object(key), entry.version.kind != .absent else {
            _ = try absent()
            return .absent
        }
        return entry.version
    }

    /// Nothing is there, unless records were lost whose keys are unknown.
    private func absent() throws(DeviceLogError) -> ObjectState {
        let losses = catalog.memory.withLock { $0.counters.unidentifiedLosses }
        guard losses == 0 else { throw .quarantined }
        return .absent
    }

    private func read(
        _ key: ObjectKey, _ entry: ObjectEntry, _ wanted: BodyWanted, _ mayBlock: Bool, _ reader: RecordReader
    ) throws(DeviceLogError) -> StoredObject {
        var metadata: ByteBuffer?
        if entry.data.length != 0 {
            let (header, bytes) = try reader.metadata(at: entry.record, mayBlock: mayBlock)
            guard header.kind == .metadata, header.objectKey == key, header.timestamp == entry.timestamp else {
                throw .corrupt
            }
            metadata = bytes
        }
        if case .none = wanted, entry.blob == 0 {
            let (header, bytes) = try reader.metadata(at: entry.body, mayBlock: mayBlock)
            try check(header, key, entry)
            return object(entry, metadata ?? bytes, header, .inline(ByteBuffer()))
        }
        var (header, content) = try reader.record(at: entry.body, mayBlock: mayBlock)
        try check(header, key, entry)
        guard let own = content.readSlice(length: Int(header.metadataLength)),
            let body = content.readSlice(length: Int(header.bodyLength))
        else { throw .corrupt }
        let stored: StoredBody = entry.blob == 0 ? .inline(body) : .blob(try openBlob(body, header, key, entry))
        return object(entry, metadata ?? own, header, stored)
    }

    private func object(
        _ entry: ObjectEntry, _ metadata: ByteBuffer, _ header: RecordHeader, _ body: StoredBody
    ) -> StoredObject {
        StoredObject(
            timestamp: entry.timestamp, dataTimestamp: entry.dataTimestamp, metadata: metadata,
            bodyLength: Int64(clamping: header.bodyTotal), body: body)
    }

    private func check(_ header: RecordHeader, _ key: ObjectKey, _ entry: ObjectEntry) throws(DeviceLogError) {
        guard header.kind == .put, header.objectKey == key, header.dataTimestamp == entry.dataTimestamp else {
            throw .corrupt
        }
    }

    private func openBlob(
        _ bytes: ByteBuffer, _ header: RecordHeader, _ key: ObjectKey, _ entry: ObjectEntry
    ) throws(DeviceLogError) -> BlobReader {
        let description = bytes.withUnsafeReadableBytes { BlobDescription($0, length: header.bodyTotal) }
        guard let description, description.id == entry.blob else { throw .corrupt }
        do {
            return BlobReader(
                length: Int64(clamping: header.bodyTotal), file: try blobs.open(description.id),
                description: description, reportDamage: { [weak self] in self?.reportDamage(key, entry) })
        } catch {
            throw error.errno == ENOENT ? .corrupt : .io(errno: error.errno)
        }
    }

    /// Notes a damaged record durably, so that later reads need not find out again.
    func reportDamage(_ key: ObjectKey, _ entry: ObjectEntry) {
        state.withLock { $0.corruptRecords += 1 }
        logger.error("A record is damaged", metadata: ["hash": "\(key.hash.hex)", "policy": "\(key.policy)"])
        // When the queue is closed the next reader reports it again.
        _ = queue.append(
            QueuedOperation(operation: .quarantine(key, entry.body), completion: nil, size: 0), limited: false)
        state.withLock { $0.onDamage }?(key)
    }

    /// Calls from any thread when a read has found a damaged object, whose note is on its way to the log.
    package func whenDamaged(_ body: @escaping @Sendable (ObjectKey) -> Void) {
        state.withLock { $0.onDamage = body }
    }

    // MARK: Writes

    /// Queues one write and returns; the outcome comes through the completion's sink, also when the queue is full.
    package func submit(_ write: consuming Write, completion: any WriteCompletion) {
        let write = write
        if let error = submitUnlessRefused(write, completion) {
            completion.sink.deliver([FinishedWrite(completion: completion, outcome: .failed(error))])
        }
    }

    private func submitUnlessRefused(_ write: Write, _ completion: any WriteCompletion) -> DeviceLogError? {
        guard let size = configuration.size(of: write) else { return .tooLarge }
        return queue.append(QueuedOperation(operation: .write(write), completion: completion, size: size))
    }

    /// Submits and waits. For cold paths and tests, never on an event loop; with the manual driver it commits.
    package func perform(_ write: consuming Write) -> WriteOutcome {
        let completion = BlockingCompletion()
        submit(write, completion: completion)
        return finish(completion)
    }

    func perform(_ operation: Operation) -> WriteOutcome {
        perform([operation])[0]
    }

    /// Submits all of them at once, and waits for all.
    func perform(_ operations: [Operation]) -> [WriteOutcome] {
        let completions = operations.map { operation in
            let completion = BlockingCompletion()
            let queued = QueuedOperation(operation: operation, completion: completion, size: 0)
            if let error = queue.append(queued, limited: false) {
                completion.deliver([FinishedWrite(completion: completion, outcome: .failed(error))])
            }
            return completion
        }
        return completions.map { finish($0) }
    }

    private func finish(_ completion: BlockingCompletion) -> WriteOutcome {
        if case .manual = configuration.driver {
            while completion.outcome == nil, commitOnce() {}
        }
        return completion.wait()
    }

    /// The container row of the object write at this position is durable, or was not needed.
    package func confirm(_ position: LogPosition) {
        unconfirmed.confirm(position)
    }

    /// Keys of object writes that were not confirmed when the device went down, each possibly more than once. See to
    /// their rows (or queue pending updates), then call `confirmRestart`.
    package func takeUnconfirmedAfterRestart() -> [ObjectKey] {
        state.withLock { exchange(&$0.unconfirmedAfterRestart, []) }
    }

    /// What `takeUnconfirmedAfterRestart` gave is done; until then a start finds it again. Of no effect on a closed device: what fails
    /// because of that is not done.
    package func confirmRestart() {
        state.withLock { state in
            if !state.isClosed { state.restartFloor = nil }
        }
    }

    /// Begins a body beyond `Configuration.maximumInlineBody`. `expectedLength` allocates the space at once.
    package func stageBlob(expectedLength: Int64?) throws(DeviceLogError) -> StagedBlob {
        guard !space.isAtReserve() else { throw .full }
        do {
            return try StagedBlob(
                files: blobs, blockSize: configuration.blobBlock, pieceSize: configuration.blobPiece,
                expectedLength: expectedLength)
        } catch {
            throw DeviceLogError(error)
        }
    }
}

private func exchange<Value>(_ place: inout Value, _ new: Value) -> Value {
    let old = place
    place = new
    return old
}

/// Lets one thread wait for one write.
private final class BlockingCompletion: WriteCompletion, CompletionSink {
    private let signal = Signal()
    private let result = Mutex<WriteOutcome?>(nil)

    var sink: any CompletionSink { self }
    var outcome: WriteOutcome? { result.withLock { $0 } }

    func deliver(_ finished: [FinishedWrite]) {
        result.withLock { $0 = finished.first?.outcome }
        signal.raise()
    }

    func wait() -> WriteOutcome {
        while true {
            if let outcome { return outcome }
            signal.wait()
        }
    }
}

extension Configuration {
    /// Bytes that a write holds while it waits; nil beyond the limits.
    func size(of write: Write) -> Int? {
        switch write {
        case .put(_, _, let metadata, .inline(let body), _):
            guard metadata.readableBytes <= maximumMetadata, body.readableBytes <= maximumInlineBody else { return nil }
            return metadata.readableBytes + body.readableBytes
        case .put(_, _, let metadata, .blob(let blob), _):
            guard metadata.readableBytes <= maximumMetadata else { return nil }
            return metadata.readableBytes + 16 + 4 * (Int(blob.length) / blobBlock + 1)
        case .restore(_, _, _, let metadata, .inline(let body)):
            guard metadata.readableBytes <= maximumMetadata, body.readableBytes <= maximumInlineBody else { return nil }
            return metadata.readableBytes + body.readableBytes
        case .restore(_, _, _, let metadata, .blob(let blob)):
            guard metadata.readableBytes <= maximumMetadata else { return nil }
            return metadata.readableBytes + 16 + 4 * (Int(blob.length) / blobBlock + 1)
        case .pendingDone, .tableInfo, .evict:
            return 0
        case .delete(_, _, let metadata), .updateMetadata(_, _, _, let metadata):
            return metadata.readableBytes <= maximumMetadata ? metadata.readableBytes : nil
        case .row(_, let row):
            let size = row.name.count + RowContent.fixedSize + row.value.readableBytes
            let isAllowed =
                !row.name.isEmpty && row.name.count <= maximumRowName && row.value.readableBytes <= maximumMetadata
            return isAllowed ? size : nil
        case .pending(let payload):
            return payload.readableBytes <= maximumMetadata ? payload.readableBytes : nil
        }
    }
}
