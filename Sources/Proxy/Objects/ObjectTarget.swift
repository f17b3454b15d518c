package import Ring
package import StorageWire

/// An object's name and the places that it belongs to.
package struct ObjectTarget {
    package let account: [UInt8]
    package let container: [UInt8]
    package let object: [UInt8]
    package let policy: UInt8
    package let hash: PathHash
    package let containerHash: PathHash
    /// Devices of the object's primaries.
    package let primaries: [UInt16]
    /// Devices of the container's primaries; the i-th object replica tells the i-th of these.
    package let containerPrimaries: [UInt16]

    /// - Returns: `nil` when the policy has no ring.
    package init?(cluster: Cluster, policy: UInt8, account: [UInt8], container: [UInt8], object: [UInt8]) {
        guard let ring = cluster.objects[policy] else { return nil }
        self.account = account
        self.container = container
        self.object = object
        self.policy = policy
        hash = cluster.hasher.hash(account: account, container: container, object: object)
        containerHash = cluster.hasher.hash(account: account, container: container)
        primaries = ring.devices(of: hash)
        containerPrimaries = cluster.containers.devices(of: containerHash)
    }

    package func address(_ index: Int) -> ObjectAddress {
        ObjectAddress(device: primaries[index], policy: policy, hash: hash)
    }

    /// The container replica that the object replica `index` writes its row to.
    package func row(_ index: Int) -> RowTarget? {
        guard !containerPrimaries.isEmpty else { return nil }
        return RowTarget(device: containerPrimaries[index % containerPrimaries.count], container: containerHash)
    }

    /// The same row, for the proxy to write when the object replica `index` can't.
    package func putRow(_ index: Int, _ row: TableRow) -> PutRow? {
        self.row(index).map {
            PutRow(table: TableAddress(device: $0.device, kind: .container, hash: $0.container), row: row)
        }
    }

    /// The first handoff device for the primary `index`; each primary has its own.
    package func handoff(cluster: Cluster, index: Int) -> UInt16? {
        cluster.objects[policy]?.handoffDevice(of: hash, place: index)
    }
}
