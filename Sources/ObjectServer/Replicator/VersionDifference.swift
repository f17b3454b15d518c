import Ring
import StorageWire

/// What one replica has to learn from another about some partitions. Pure.
struct VersionDifference: Equatable {
    /// The other has something newer, or something whole where this one is damaged.
    var wanted: [ReplicaVersion] = []
    /// What the other has that is newer and damaged.
    var unreadable: [PathHash] = []

    /// - Parameters:
    ///   - own, other: in the order of their hashes, all of the same partitions.
    init(own: [ReplicaVersion], other: [ReplicaVersion]) {
        var index = 0
        for theirs in other {
            while index < own.count, own[index].hash < theirs.hash { index += 1 }
            let ours = index < own.count && own[index].hash == theirs.hash ? own[index] : nil
            if ours.map({ Self.isBetter(theirs, than: $0) }) ?? true { want(theirs) }
        }
    }

    /// Newer; at the same time a tombstone before an object, and anything before a damaged copy.
    static func isBetter(_ left: ReplicaVersion, than right: ReplicaVersion) -> Bool {
        func rank(_ kind: ReplicaVersion.Kind) -> Int {
            switch kind {
            case .quarantined: 0
            case .live: 1
            case .tombstone: 2
            }
        }
        if left.timestamp != right.timestamp { return left.timestamp > right.timestamp }
        return rank(left.kind) > rank(right.kind)
    }

    private mutating func want(_ version: ReplicaVersion) {
        if version.kind != .quarantined { wanted.append(version) } else { unreadable.append(version.hash) }
    }
}
