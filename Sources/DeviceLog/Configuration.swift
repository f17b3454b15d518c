/// Whose device a directory is; `device.json` holds it and `DeviceLog.open` compares.
package struct DeviceIdentity: Equatable, Sendable {
    package var clusterID: String
    package var deviceID: Int

    package init(clusterID: String, deviceID: Int) {
        self.clusterID = clusterID
        self.deviceID = deviceID
    }
}

/// How whoever runs a device watches and slows down its compaction. Called on the thread that compacts.
package struct CompactionSteering: Sendable {
    /// A segment is about to be emptied; so many bytes of it still count.
    package var begin: @Sendable (_ bytes: Int64) -> Void
    /// So many bytes are about to be copied. It may block, which it should not do for the sake of clients while the device is short of space; false
    /// ends compaction, for a device that is about to be closed.
    package var advance: @Sendable (_ bytes: Int64, _ isShort: Bool) -> Bool
    package var end: @Sendable () -> Void

    package init(
        begin: @escaping @Sendable (Int64) -> Void, advance: @escaping @Sendable (Int64, Bool) -> Bool,
        end: @escaping @Sendable () -> Void
    ) {
        self.begin = begin
        self.advance = advance
        self.end = end
    }
}

/// Sizes and limits of one device. All sizes in bytes.
package struct Configuration: Sendable {
    /// Who runs the commit stream and the background work.
    package enum Driver: Sendable {
        /// One commit thread and one maintenance thread.
        case threads
        /// The caller, by `commitOnce`, `flushIndex`, `compact`; for tests and simulation.
        case manual
    }

    package var driver = Driver.threads
    /// A segment is rolled when a batch does not fit any more. At most 2 GiB.
    package var segmentSize = 256 << 20
    /// How far ahead of the write position a segment is filled with zeros in the background; 0 switches it off.
    package var zeroAhead = 16 << 20
    /// Limits of one batch.
    package var maximumBatchBytes = 4 << 20
    package var maximumBatchRecords = 4096
    /// A batch of more records than this shows load: the next one is then given time to grow.
    package var gatherAbove = 16
    /// That time.
    package var gatherMicroseconds = 1500
    /// Memory for the last records, which are written past the page cache; 0 switches it off.
    package var recentBytes = 8 << 20
    /// Writes waiting for the commit stream; beyond this they fail with `.busy`.
    package var maximumQueuedWrites = 16384
    /// Bytes of metadata and bodies waiting for the commit stream.
    package var maximumQueuedBytes = 64 << 20
    /// Objects and rows held in memory before they move to the index.
    package var memoryEntries = 32_768
    /// Runs of the index below this are merged with each other; beyond, with those of about their size.
    package var indexRunSize: Int64 = 4 << 20
    /// Memory for blocks of the index in which something was found; 0 switches it off. Only what is used is taken.
    package var indexMemory = 26 << 20
    /// Segments between two flushes of the index, at most about this many; the next start reads them.
    package var maximumReplaySegments: UInt32 = 4
    /// Evictions that older segments hold back, at least, before those are rewritten for that.
    package var evictionBacklog = 10_000
    /// Time between two looks for a segment to compact, with the threaded driver.
    package var compactionPeriod = Duration.seconds(10)
    /// Bodies beyond this have to be blobs.
    package var maximumInlineBody = 256 << 10
    package var maximumMetadata = 128 << 10
    /// Bytes of a row's name.
    package var maximumRowName = 1024
    /// Size of the checksummed blocks of a blob.
    package var blobBlock = 256 << 10
    /// Bytes of a blob that are gathered and written at once, past the page cache; a multiple of 4096. A shorter blob goes through it.
    package var blobPiece = 508 << 10
    /// Space that only deletes and compaction may use; nil: 2 % of the device, at least 1 GiB, at most 10 %.
    package var reserve: Int64?
    /// Share of garbage above which a segment is compacted.
    package var compactionGarbage = 0.5
    package var compactionSteering: CompactionSteering?
    /// Free segments kept for reuse.
    package var maximumSpareSegments = 2
    /// Object writes without `confirm` that are remembered one by one.
    package var maximumUnconfirmed = 262_144

    package init() {}
}
