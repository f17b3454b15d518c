internal import NIOCore
internal import Synchronization

/// What the device holds: the memory layers above the index, their sums and digests.
///
/// Reads come from any thread. Changes come from the commit stream only, after their batch is durable.
final class Catalog: Sendable {
    struct Memory {
        var active = Memory.emptyLayer(firstPending: 1)
        /// On its way to the index.
        var flushing: IndexChanges?
        let digests = Digests()
        var counters = Counters()
        var liveBytes: [UInt32: Int64] = [:]
        var nextPending: UInt64 = 1
        /// Blobs whose records are superseded, to be removed.
        var retiredBlobs: [UInt64] = []

        static func emptyLayer(firstPending: UInt64) -> MemoryLayer {
            MemoryLayer(rows: 1 << 16, firstPending: firstPending)
        }
    }

    let index: any IndexStore
    let memory = Mutex(Memory())

    init(index: any IndexStore) {
        self.index = index
    }

    /// Takes over what the index stands for.
    func load(_ state: IndexState) throws(DeviceLogError) {
        var pages: [DigestPage] = []
        try index.digestPages { pages.append($0) }
        memory.withLock { memory in
            memory.counters = state.counters
            memory.liveBytes = state.liveBytes
            memory.nextPending = state.nextPending
            memory.active.firstPending = state.nextPending
            for page in pages { memory.digests.load(page) }
        }
    }

    // MARK: Lookups. Memory comes first: an entry leaves it only after the index has it.

    func object(_ key: ObjectKey) throws(DeviceLogError) -> ObjectEntry? {
        let entry = memory.withLock { $0.active.objects[key] ?? $0.flushing?.layer.objects[key] }
        return if let entry { entry } else { try index.object(key) }
    }

    func row(_ table: TableKey, _ name: [UInt8]) throws(DeviceLogError) -> StoredRow? {
        try name.withBytes { (name) throws(DeviceLogError) in
            try row(table, name, hash: MemoryLayer.hash(table, name))
        }
    }

    /// - Parameter hash: by `MemoryLayer.hash`.
    func row(
        _ table: TableKey, _ name: UnsafeRawBufferPointer, hash: UInt64
    ) throws(DeviceLogError) -> StoredRow? {
        let row = memory.withLock { memory in
            memory.active.row(table, name, hash: hash) ?? memory.flushing?.layer.row(table, name, hash: hash)
        }
        return if let row { row } else { try index.row(table, name) }
    }

    func table(_ key: TableKey) throws(DeviceLogError) -> TableState? {
        let state = memory.withLock { $0.active.tables[key] ?? $0.flushing?.layer.tables[key] }
        return if let state { state } else { try index.table(key) }
    }

    func pending(_ id: UInt64) throws(DeviceLogError) -> PendingEntry? {
        if let known = memory.withLock({ $0.active.pending[id] ?? $0.flushing?.layer.pending[id] }) { return known }
        return try index.pending(id)
    }

    func pending(limit: Int) throws(DeviceLogError) -> [(id: UInt64, payload: [UInt8])] {
        let recent = memory.withLock { memory in
            (memory.flushing?.layer.pending ?? [:]).merging(memory.active.pending) { $1 }
        }
        var found: [UInt64: [UInt8]] = [:]
        var first: UInt64 = 0
        while found.count < limit {
            let page = try index.pending(from: first, limit: limit)
            for (id, entry) in page where recent[id] == nil { found[id] = entry.payload }
            guard page.count == limit, let last = page.last else { break }
            first = last.id + 1
        }
        for (id, entry) in recent { if let entry { found[id] = entry.payload } }
        return found.sorted { $0.key < $1.key }.prefix(limit).map { (id: $0.key, payload: $0.value) }
    }

    func hasBlob(_ id: UInt64) throws(DeviceLogError) -> Bool {
        if let known = memory.withLock({ $0.active.blobs[id] ?? $0.flushing?.layer.blobs[id] }) { return known }
        return try index.hasBlob(id)
    }

    // MARK: Changes

    /// Makes a durable batch visible.
    func apply(_ changes: Changes) {
        memory.withLock { memory in
            let active = memory.active
            for change in changes.objects {
                active.objects[change.key] = change.new
                if let old = change.old {
                    memory.counters.add(old.kind, -1)
                    memory.digests.toggle(change.key, old.version)
                }
                memory.counters.add(change.new.kind, 1)
                memory.digests.toggle(change.key, change.new.version)
            }
            for change in changes.rows {
                active.setRow(
                    change.table, change.name, change.new, hash: change.hash,
                    hidesOther: change.old.map { $0.kind != change.new.kind } ?? false)
                if change.old?.kind == .live { memory.counters.rows -= 1 }
                if change.new.kind == .live { memory.counters.rows += 1 }
            }
            for (table, state) in changes.layer.tables { active.tables[table] = state }
            for (id, entry) in changes.layer.pending {
                active.set(pending: id, to: entry)
                memory.nextPending = max(memory.nextPending, id + 1)
            }
            for (id, isLive) in changes.layer.blobs {
                active.blobs[id] = isLive
                if !isLive { memory.retiredBlobs.append(id) }
            }
            for (segment, bytes) in changes.liveBytes { memory.liveBytes[segment, default: 0] += bytes }
            memory.counters.unidentifiedLosses += changes.losses
        }
    }

    /// Objects, rows and so on that wait in memory for the next flush.
    var waiting: Int { memory.withLock { $0.active.count } }
    var isFlushing: Bool { memory.withLock { $0.flushing != nil } }

    /// Sets the active layer aside; nil when there is nothing to flush or a flush is under way. Called between batches.
    func beginFlush(covered: LogPosition, batch: UInt64, unconfirmed: LogPosition) -> IndexChanges? {
        memory.withLock { memory in
            guard memory.flushing == nil else { return nil }
            let state = IndexState(
                covered: covered, batch: batch, unconfirmed: unconfirmed, nextPending: memory.nextPending,
                counters: memory.counters, liveBytes: memory.liveBytes)
            let changes = IndexChanges(layer: memory.active, digests: memory.digests.takeDirty(), state: state)
            memory.flushing = changes
            memory.active = Memory.emptyLayer(firstPending: memory.nextPending)
            return changes
        }
    }

    /// Writes what `beginFlush` set aside; when it fails it stays in memory for another try.
    func finishFlush() throws(DeviceLogError) {
        guard let changes = memory.withLock({ $0.flushing }) else { return }
        try index.apply(changes)
        memory.withLock { $0.flushing = nil }
    }
}
