internal import Ring
internal import Synchronization

/// Evictions leave an entry in the index, so that no older record of the object counts again. When such records are gone the entry can go too.
extension DeviceLog {
    private static let page = 4096
    /// As `Configuration.evictionBacklog`, as a share of all entries: one in so many.
    private static let backlogShare = 4

    /// Forgets the evictions of objects of which the log has no older record. When too many others wait, says from which segments on the log is
    /// rewritten for them. A walk over the index; blocks.
    ///
    /// - Returns: how many were forgotten.
    @discardableResult
    package func forgetEvictions() throws(DeviceLogError) -> Int {
        guard let oldest = try segmentSizes().keys.min() else { return 0 }
        var walk = EvictionWalk(oldest: oldest)
        var forgotten = 0
        var start: ObjectKey? = ObjectKey(policy: 0, hash: PathHash(high: 0, low: 0))
        while let first = start {
            var found: [(key: ObjectKey, timestamp: UInt64)] = []
            start = nil
            // In pages, since nothing may be written while the index is read.
            try catalog.index.scanObjects(from: first) { key, entry in
                guard found.count < Self.page else {
                    start = key
                    return false
                }
                if walk.visit(entry) { found.append((key, entry.timestamp)) }
                return true
            }
            for outcome in perform(found.map { .forget($0.key, timestamp: $0.timestamp, before: oldest) }) {
                if case .stored = outcome { forgotten += 1 }
            }
        }
        let isTooMuch = walk.waiting > max(configuration.evictionBacklog, walk.entries / Self.backlogShare)
        state.withLock { $0.rewriteBefore = isTooMuch ? walk.lastWaiting : 0 }
        return forgotten
    }
}

/// What a walk over the index finds of evictions. Pure.
struct EvictionWalk {
    /// The oldest segment of the log.
    let oldest: UInt32
    private(set) var entries = 0
    /// Evictions that older segments hold back, and the segment before which all would have to go.
    private(set) var waiting = 0
    private(set) var lastWaiting: UInt32 = 0

    init(oldest: UInt32) { self.oldest = oldest }

    /// Whether the entry can be forgotten.
    mutating func visit(_ entry: ObjectEntry) -> Bool {
        entries += 1
        guard entry.kind == .evicted else { return false }
        // Records as old as the eviction itself may be in the same segment.
        if entry.data.segment < oldest { return true }
        waiting += 1
        lastWaiting = max(lastWaiting, entry.data.segment + 1)
        return false
    }
}
