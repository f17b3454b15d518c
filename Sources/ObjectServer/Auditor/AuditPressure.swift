import DeviceLog

/// Whether clients need the disk more than the audit does, by what its commits take.
struct AuditPressure {
    /// Writes that wait.
    private static let deepQueue = 64
    /// What one commit takes on average.
    private static let slowCommit: UInt64 = 20_000_000

    private var last: DeviceLoad?

    /// Call again with the load some milliseconds later.
    mutating func isHigh(_ load: DeviceLoad) -> Bool {
        defer { last = load }
        if load.queuedWrites >= Self.deepQueue { return true }
        guard let last, load.commits > last.commits, load.syncNanoseconds >= last.syncNanoseconds else { return false }
        return (load.syncNanoseconds - last.syncNanoseconds) / (load.commits - last.commits) >= Self.slowCommit
    }
}
