package import Ring
internal import Synchronization

/// Comparing a device with other replicas.
extension DeviceLog {
    /// XOR over the digests of everything whose hash begins with one of these 16-bit values.
    package func digest(policy: UInt8, buckets: Range<Int>) -> UInt64 {
        catalog.memory.withLock { $0.digests.value(policy: policy, buckets: buckets) }
    }

    /// As above for each of some partitions, the upper `partPower` bits of a hash, in ascending order: at once up to 16 bits, by one walk over
    /// the index beyond.
    package func digests(policy: UInt8, partPower: Int, partitions: [UInt32]) throws(DeviceLogError) -> [UInt64] {
        guard partPower > 16 else {
            let width = 1 << (16 - partPower)
            return catalog.memory.withLock { memory in
                partitions.map {
                    memory.digests.value(policy: policy, buckets: Int($0) * width..<(Int($0) + 1) * width)
                }
            }
        }
        var digests = [UInt64](repeating: 0, count: partitions.count)
        guard let first = partitions.first, let last = partitions.last else { return digests }
        let shift = UInt64(64 - partPower)
        var place = 0
        try versions(
            policy: policy, from: PathHash(high: UInt64(first) << shift, low: 0),
            through: PathHash(high: UInt64(last) << shift | (1 << shift - 1), low: .max)
        ) { key, version in
            let partition = UInt32(truncatingIfNeeded: key.hash.high >> shift)
            while place < partitions.count, partitions[place] < partition { place += 1 }
            if place < partitions.count, partitions[place] == partition {
                digests[place] ^= Digests.digest(key.hash, version)
            }
            return true
        }
        return digests
    }

    /// Keys and versions of everything from `first` to `last`, tombstones too, in the order of the hashes, until `visit` says false.
    package func versions(
        policy: UInt8, from first: PathHash, through last: PathHash, visit: (ObjectKey, ObjectVersion) -> Bool
    ) throws(DeviceLogError) {
        try entries(policy: policy, from: first, through: last) { key, entry in visit(key, entry.version) }
    }

    /// How much is in some partitions, the upper `partPower` bits of a hash, in ascending order. One walk over the index between the first and the
    /// last of them.
    ///
    /// Bytes are those of the records, and of the bodies that are files of their own; of those up to `StoredAmount.measuredBlobs` are looked at,
    /// and others count as their mean.
    package func amount(policy: UInt8, partPower: Int, partitions: [UInt32]) throws(DeviceLogError) -> StoredAmount {
        var amount = StoredAmount()
        guard let first = partitions.first, let last = partitions.last else { return amount }
        let shift = UInt64(64 - partPower)
        var place = 0
        var blobs: [UInt64] = []
        var blobCount: Int64 = 0
        try entries(
            policy: policy, from: PathHash(high: UInt64(first) << shift, low: 0),
            through: PathHash(high: UInt64(last) << shift | (1 << shift - 1), low: .max)
        ) { key, entry in
            let partition = UInt32(truncatingIfNeeded: key.hash.high >> shift)
            while place < partitions.count, partitions[place] < partition { place += 1 }
            guard place < partitions.count, partitions[place] == partition else { return true }
            amount.objects += 1
            amount.bytes += Int64(entry.record.length) + (entry.kind == .live ? Int64(entry.data.length) : 0)
            if entry.blob != 0 {
                blobCount += 1
                if blobs.count < StoredAmount.measuredBlobs { blobs.append(entry.blob) }
            }
            return true
        }
        // One that is removed meanwhile has no length.
        let lengths = blobs.compactMap { try? self.blobs.open($0).length() }
        guard !lengths.isEmpty else { return amount }
        amount.bytes += Int64(Double(lengths.reduce(0, +)) / Double(lengths.count) * Double(blobCount))
        return amount
    }

    /// As `versions`, with all that the index knows.
    private func entries(
        policy: UInt8, from first: PathHash, through last: PathHash, visit: (ObjectKey, ObjectEntry) -> Bool
    ) throws(DeviceLogError) {
        // Memory first, as with lookups.
        let (active, flushing) = catalog.memory.withLock { memory in
            (
                memory.active.objects.entries(policy: policy, from: first, through: last),
                memory.flushing?.layer.objects.entries(policy: policy, from: first, through: last) ?? []
            )
        }
        let recent = Self.merge(
            active.sorted { $0.hash < $1.hash }, over: flushing.sorted { $0.hash < $1.hash })
        var next = 0
        var isStopped = false
        func emit(_ key: ObjectKey, _ entry: ObjectEntry) -> Bool {
            if entry.version.kind != .absent, !visit(key, entry) { isStopped = true }
            return !isStopped
        }
        try catalog.index.scanObjects(from: ObjectKey(policy: policy, hash: first)) { key, entry in
            guard key.policy == policy, !(last < key.hash) else { return false }
            while next < recent.count, recent[next].hash < key.hash {
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
            while index < lower.count, lower[index].hash <= slot.hash {
                if lower[index].hash != slot.hash { merged.append(lower[index]) }
                index += 1
            }
            merged.append(slot)
        }
        return merged + lower[index...]
    }
}

/// What some partitions of a device hold: objects, tombstones too, and their bytes on the disk.
package struct StoredAmount: Equatable, Sendable {
    /// Bodies in files of their own whose length is looked at for one answer.
    static let measuredBlobs = 256

    package var objects: Int64 = 0
    package var bytes: Int64 = 0

    package init() {}
}
