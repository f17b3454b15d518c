package import Ring

/// What replicators ask each other: first for digests, then for keys and versions, and at last for data.
package enum ReplicationRequest: Equatable, Sendable {
    case digests(DigestQuery)
    case versions(VersionQuery)
    /// As `versions`, for nodes of version 2 of the wire.
    case range(RangeQuery)
    case fetch(FetchObjects)
    case objects(ObjectsQuery)
    /// What has become of the passes over the devices of the node.
    case passes
    case reclaim(ReclaimTombstones)
    case tables(TableQuery)
    case rows(RowDigestQuery)
    case fetchTables(FetchTables)
    /// As `readTable` and `listTable`, of what the device itself has, also while it is behind. Answered in the same way.
    case head(TableAddress)
    case list(ListTable)
}

/// The answers.
package enum ReplicationReply: Equatable, Sendable {
    /// One for each partition that was asked for.
    case digests([UInt64])
    case versions(VersionPage)
    /// For each object or table that was to be fetched, whether the device has that or something newer now.
    case fetched([Bool])
    /// For the first of the hashes that were asked for, in their order: at least one, and no more than fit into one answer.
    case objects([ReplicaObject])
    case passes([SettledPass])
    /// How many the device has given up.
    case reclaimed(Int)
    case tables(TablePage)
    case rows(RowDigestPage)
}

/// Asks for the digests of partitions: XOR over what a device has of them.
package struct DigestQuery: Equatable, Sendable {
    package static let maximumPartitions = 1 << 14

    package var device: UInt16
    package var policy: UInt8
    /// A partition is the upper `partPower` bits of a hash; at most 32.
    package var partPower: UInt8
    /// In ascending order.
    package var partitions: [UInt32]
    /// Whoever asks took the device's place there and wants to have everything: the device must know that they are not its own any more, and take
    /// no further writes for them.
    package var mustBeForeign: Bool

    package init(
        device: UInt16, policy: UInt8, partPower: UInt8, partitions: [UInt32], mustBeForeign: Bool = false
    ) {
        self.device = device
        self.policy = policy
        self.partPower = partPower
        self.partitions = partitions
        self.mustBeForeign = mustBeForeign
    }
}

/// Hashes from `first` to `last`, both included.
package struct HashRange: Equatable, Sendable {
    package var first: PathHash
    package var last: PathHash

    package init(first: PathHash, last: PathHash) {
        self.first = first
        self.last = last
    }

    package static let all = HashRange(first: PathHash(high: 0, low: 0), last: PathHash(high: .max, low: .max))
}

extension PathHash {
    /// The one behind it; nil behind the last.
    package var successor: PathHash? {
        if low < .max { return PathHash(high: high, low: low + 1) }
        return high < .max ? PathHash(high: high + 1, low: 0) : nil
    }
}

/// Asks for the keys and versions of what a device has of some partitions, in the order of the hashes.
package struct VersionQuery: Equatable, Sendable {
    package static let maximumLimit = 16_384

    package var device: UInt16
    package var policy: UInt8
    /// A partition is the upper `partPower` bits of a hash; at most 32.
    package var partPower: UInt8
    /// In ascending order; at most `DigestQuery.maximumPartitions`.
    package var partitions: [UInt32]
    /// Nothing before it is wanted.
    package var first: PathHash
    package var limit: Int

    package init(
        device: UInt16, policy: UInt8, partPower: Int, partitions: [UInt32],
        first: PathHash = PathHash(high: 0, low: 0), limit: Int = Self.maximumLimit
    ) {
        self.device = device
        self.policy = policy
        self.partPower = UInt8(partPower)
        self.partitions = partitions
        self.first = first
        self.limit = limit
    }
}

extension VersionQuery {
    /// What is asked for as ranges of hashes.
    package var ranges: [HashRange] { HashRange.of(partitions, partPower: Int(partPower), from: first) }
}

extension HashRange {
    /// The hashes of some partitions, the upper `partPower` bits of a hash, in ascending order, without those before `first`: neighbouring partitions
    /// are one range.
    package static func of(_ partitions: [UInt32], partPower: Int, from first: PathHash) -> [HashRange] {
        let shift = UInt64(64 - partPower)
        var ranges: [HashRange] = []
        var index = 0
        while index < partitions.count {
            let start = index
            repeat { index += 1 } while index < partitions.count && partitions[index] == partitions[index - 1] + 1
            let lower = PathHash(high: UInt64(partitions[start]) << shift, low: 0)
            let upper = PathHash(high: UInt64(partitions[index - 1]) << shift | (1 << shift &- 1), low: .max)
            if !(upper < first) { ranges.append(HashRange(first: max(lower, first), last: upper)) }
        }
        return ranges
    }
}

/// Asks for the keys and versions of what a device has in a range, in the order of the hashes. Answered as `VersionQuery`.
package struct RangeQuery: Equatable, Sendable {
    package var device: UInt16
    package var policy: UInt8
    package var range: HashRange
    /// At most `VersionQuery.maximumLimit`.
    package var limit: Int

    package init(device: UInt16, policy: UInt8, range: HashRange, limit: Int) {
        self.device = device
        self.policy = policy
        self.range = range
        self.limit = limit
    }
}

/// What a device has under a hash.
package struct ReplicaVersion: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case live = 1
        case tombstone = 2
        /// Damaged: no source, and to be fetched from another replica.
        case quarantined = 3
    }

    package var hash: PathHash
    package var timestamp: Timestamp
    package var kind: Kind

    package init(hash: PathHash, timestamp: Timestamp, kind: Kind) {
        self.hash = hash
        self.timestamp = timestamp
        self.kind = kind
    }
}

/// Versions in the order of their hashes.
package struct VersionPage: Equatable, Sendable {
    package var versions: [ReplicaVersion]
    /// False: there is more behind the last one.
    package var isWhole: Bool

    package init(versions: [ReplicaVersion], isWhole: Bool) {
        self.versions = versions
        self.isWhole = isWhole
    }
}

/// Asks a node to bring objects from another device to one of its own.
package struct FetchObjects: Equatable, Sendable {
    package static let maximumHashes = 1024

    /// The device that is to have them, on the node that is asked.
    package var device: UInt16
    /// The device that has them.
    package var source: UInt16
    package var policy: UInt8
    package var hashes: [PathHash]

    package init(device: UInt16, source: UInt16, policy: UInt8, hashes: [PathHash]) {
        self.device = device
        self.source = source
        self.policy = policy
        self.hashes = hashes
    }
}

/// Asks for objects with their bodies, many at once, of what the device itself has.
package struct ObjectsQuery: Equatable, Sendable {
    package static let maximumHashes = 256
    /// Bytes of heads and bodies after which an answer ends.
    package static let maximumBytes = 1 << 20

    package var device: UInt16
    package var policy: UInt8
    package var hashes: [PathHash]

    package init(device: UInt16, policy: UInt8, hashes: [PathHash]) {
        self.device = device
        self.policy = policy
        self.hashes = hashes
    }
}

/// What a device has under a hash.
package enum ReplicaObject: Equatable, Sendable {
    case absent
    case tombstone(Timestamp)
    /// Without its body when that is large: it is to be asked for by itself.
    case object(ObjectReply)
    case failed(StorageFailure.Reason)
}

/// The last pass of an object replicator that has left nothing to do for a device: everything that did not belong there was given away.
package struct SettledPass: Equatable, Sendable {
    /// Devices of one node.
    package static let maximumDevices = 4096

    package var device: UInt16
    /// Of the rings that the pass went by.
    package var ringsVersion: UInt64
    /// How long ago it began, in milliseconds.
    package var age: UInt64

    package init(device: UInt16, ringsVersion: UInt64, age: UInt64) {
        self.device = device
        self.ringsVersion = ringsVersion
        self.age = age
    }
}

/// Has a device give up tombstones that all replicas hold, and that nothing is left to hide from.
package struct ReclaimTombstones: Equatable, Sendable {
    package static let maximumTombstones = 4096

    package struct Tombstone: Equatable, Sendable {
        package var hash: PathHash
        package var timestamp: Timestamp

        package init(hash: PathHash, timestamp: Timestamp) {
            self.hash = hash
            self.timestamp = timestamp
        }
    }

    package var device: UInt16
    package var policy: UInt8
    package var tombstones: [Tombstone]

    package init(device: UInt16, policy: UInt8, tombstones: [Tombstone]) {
        self.device = device
        self.policy = policy
        self.tombstones = tombstones
    }
}

/// Asks which tables a device has in a range, in the order of their hashes.
package struct TableQuery: Equatable, Sendable {
    package static let maximumLimit = 16_384

    package var device: UInt16
    package var kind: TableKind
    package var range: HashRange
    package var limit: Int
    /// As `DigestQuery.mustBeForeign`, of these partitions; at most `DigestQuery.maximumPartitions`.
    package var mustBeForeign: [UInt32]

    package init(
        device: UInt16, kind: TableKind, range: HashRange, limit: Int = Self.maximumLimit, mustBeForeign: [UInt32] = []
    ) {
        self.device = device
        self.kind = kind
        self.range = range
        self.limit = limit
        self.mustBeForeign = mustBeForeign
    }
}

/// A table on one replica, as far as a comparison needs it.
package struct TableSummary: Equatable, Sendable {
    package var hash: PathHash
    /// XOR over all rows, deleted ones too.
    package var rows: UInt64
    /// Of the head, `TableHead.digest`; 0 when there is none.
    package var head: UInt64
    /// Timestamp of the newest row.
    package var lastChange: Timestamp

    package init(hash: PathHash, rows: UInt64, head: UInt64, lastChange: Timestamp) {
        self.hash = hash
        self.rows = rows
        self.head = head
        self.lastChange = lastChange
    }
}

/// Tables in the order of their hashes.
package struct TablePage: Equatable, Sendable {
    package var tables: [TableSummary]
    /// False: there is more behind the last one.
    package var isWhole: Bool

    package init(tables: [TableSummary], isWhole: Bool) {
        self.tables = tables
        self.isWhole = isWhole
    }
}

/// Asks for digests of the rows of a table, some rows together, in the order of their names.
package struct RowDigestQuery: Equatable, Sendable {
    package static let maximumChunks = 1024

    package var table: TableAddress
    /// Rows that were deleted, or those that were not.
    package var deleted: Bool
    /// Exclusive; empty: from the first row on.
    package var after: [UInt8]

    package init(table: TableAddress, deleted: Bool, after: [UInt8]) {
        self.table = table
        self.deleted = deleted
        self.after = after
    }
}

/// Neighbouring rows: those behind the last one of the chunk before.
package struct RowChunk: Equatable, Sendable {
    /// Name of its last row.
    package var last: [UInt8]
    /// XOR over its rows.
    package var digest: UInt64

    package init(last: [UInt8], digest: UInt64) {
        self.last = last
        self.digest = digest
    }
}

/// Chunks in the order of their names.
package struct RowDigestPage: Equatable, Sendable {
    package var chunks: [RowChunk]
    /// False: there is more behind the last one.
    package var isWhole: Bool

    package init(chunks: [RowChunk], isWhole: Bool) {
        self.chunks = chunks
        self.isWhole = isWhole
    }
}

/// Asks a node to merge tables of another device into those of one of its own.
package struct FetchTables: Equatable, Sendable {
    package static let maximumHashes = 256

    package var device: UInt16
    package var source: UInt16
    package var kind: TableKind
    package var hashes: [PathHash]

    package init(device: UInt16, source: UInt16, kind: TableKind, hashes: [PathHash]) {
        self.device = device
        self.source = source
        self.kind = kind
        self.hashes = hashes
    }
}
