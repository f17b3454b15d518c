/// How busy a device is with writes; cheap to ask for.
package struct DeviceLoad: Sendable, Equatable {
    package var queuedWrites: Int
    /// Since the device was opened.
    package var commits: UInt64
    package var syncNanoseconds: UInt64

    package init(queuedWrites: Int, commits: UInt64, syncNanoseconds: UInt64) {
        self.queuedWrites = queuedWrites
        self.commits = commits
        self.syncNanoseconds = syncNanoseconds
    }
}

/// Counters and gauges of one device.
package struct DeviceStatistics: Sendable, Equatable {
    package init() {}

    package var objects: Int64 = 0
    package var tombstones: Int64 = 0
    /// Live rows of all tables.
    package var rows: Int64 = 0
    package var quarantined: Int64 = 0
    /// Bytes of records in the log that the index refers to, and of those that it does not.
    package var liveBytes: Int64 = 0
    package var garbageBytes: Int64 = 0
    package var segments = 0
    package var freeBytes: Int64 = 0
    package var totalBytes: Int64 = 0
    package var queuedWrites = 0
    package var unconfirmedWrites = 0
    /// Since the device was opened.
    package var commits: UInt64 = 0
    package var committedRecords: UInt64 = 0
    package var indexFlushes: UInt64 = 0
    package var corruptRecords: UInt64 = 0
    package var syncNanoseconds: UInt64 = 0
    /// Number of syncs that took less than 2^n microseconds (and not less than 2^(n-1)), n = 0 to 23.
    package var syncHistogram = [UInt64](repeating: 0, count: 24)
    /// Damaged stretches of the log whose records are unknown.
    package var unidentifiedLosses: Int64 = 0
    /// A write failed; the device takes no more of them.
    package var isReadOnly = false
    package var isFull = false
}
