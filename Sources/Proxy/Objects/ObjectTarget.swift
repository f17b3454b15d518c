import NIOCore
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
    /// The rings that the operation works with, also if others come meanwhile.
    private let cluster: Cluster
    /// Devices of the object's primaries.
    package let primaries: [UInt16]

    /// - Parameter containerHash: when it is known.
    /// - Returns: `nil` when the policy has no ring.
    package init?(
        cluster: Cluster, policy: UInt8, account: [UInt8], container: [UInt8], containerHash: PathHash? = nil,
        object: [UInt8]
    ) {
        guard let ring = cluster.objects[policy] else { return nil }
        self.cluster = cluster
        self.account = account
        self.container = container
        self.object = object
        self.policy = policy
        hash = cluster.hasher.hash(account: account, container: container, object: object)
        self.containerHash = containerHash ?? cluster.hasher.hash(account: account, container: container)
        primaries = ring.devices(of: hash)
    }

    package func address(_ index: Int) -> ObjectAddress {
        ObjectAddress(device: primaries[index], policy: policy, hash: hash)
    }

    /// The container replica that the object replica `index` writes its row to: the i-th one tells the i-th.
    package func row(_ index: Int) -> RowTarget? {
        let devices = cluster.containers.primaries(of: containerHash)
        guard devices.endIndex > 0 else { return nil }
        let device = UInt16(truncatingIfNeeded: devices[index % devices.endIndex])
        return RowTarget(device: device, container: containerHash)
    }

    /// The row that the object replica `index` writes, for when it can't: `head` is `nil` for a deletion.
    func putRow(_ index: Int, _ head: ObjectHead?, _ timestamp: Timestamp) -> PutRow? {
        guard let target = row(index) else { return nil }
        let value = head.map { ObjectRowValue(etag: $0.etag, contentType: $0.contentType).encoded() } ?? ByteBuffer()
        return PutRow(
            table: TableAddress(device: target.device, kind: .container, hash: target.container),
            row: TableRow(
                name: object, timestamp: timestamp, deleted: head == nil, policy: policy, bytes: head?.size ?? 0,
                count: head == nil ? 0 : 1, value: value))
    }

    /// The first handoff device for the primary `index`; each primary has its own.
    package func handoff(index: Int) -> UInt16? {
        cluster.objects[policy]?.handoffDevice(of: hash, place: index)
    }
}
