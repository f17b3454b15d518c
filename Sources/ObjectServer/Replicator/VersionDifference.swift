import Ring
import StorageWire

/// What two replicas have to tell each other about a range of hashes. Pure.
struct VersionDifference: Equatable {
    /// The other has something newer, or something whole where this one is damaged.
    var wanted: [ReplicaVersion] = []
    /// This one has something newer.
    var offered: [ReplicaVersion] = []
    /// What the other has that is newer and damaged.
    var unreadable = 0

    /// - Parameters:
    ///   - own, other: in the order of their hashes, all of one range.
    init(own: [ReplicaVersion], other: [ReplicaVersion]) {
        var index = 0
        for theirs in other {
            while index < own.count, own[index].hash < theirs.hash {
                offer(own[index])
                index += 1
            }
            guard index < own.count, own[index].hash == theirs.hash else {
                want(theirs)
                continue
            }
            let ours = own[index]
            index += 1
            if Self.isBetter(theirs, than: ours) {
                want(theirs)
            } else if Self.isBetter(ours, than: theirs) {
                offer(ours)
            }
        }
        for ours in own[index...] { offer(ours) }
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
        if version.kind != .quarantined { wanted.append(version) } else { unreadable += 1 }
    }

    private mutating func offer(_ version: ReplicaVersion) {
        if version.kind != .quarantined { offered.append(version) }
    }
}
