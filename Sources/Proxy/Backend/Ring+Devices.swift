package import Ring

extension Ring {
    /// Ids of the devices that are primaries of a name, in the order of the replicas.
    package func devices(of hash: PathHash) -> [UInt16] {
        primaries(of: hash).deviceIDs
    }

    /// The device that stands in for the primary at `place`: each primary has its own handoff, in the ring's order.
    package func handoffDevice(of hash: PathHash, place: Int) -> UInt16? {
        var handoffs = handoffs(of: partition(of: hash)).makeIterator()
        for _ in 0..<place { _ = handoffs.next() }
        return handoffs.next().map { UInt16(truncatingIfNeeded: $0) }
    }
}
