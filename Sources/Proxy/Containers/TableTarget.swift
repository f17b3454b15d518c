package import Ring
package import StorageWire

/// A container or an account and the devices that its replicas are on.
package struct TableTarget: Sendable {
    package let kind: TableKind
    package let account: [UInt8]
    /// Empty for an account.
    package let container: [UInt8]
    package let hash: PathHash
    package let primaries: [UInt16]

    /// An account.
    package init(cluster: Cluster, account: [UInt8]) {
        kind = .account
        self.account = account
        container = []
        hash = cluster.hasher.hash(account: account)
        primaries = cluster.accounts.devices(of: hash)
    }

    /// A container.
    package init(cluster: Cluster, account: [UInt8], container: [UInt8]) {
        kind = .container
        self.account = account
        self.container = container
        hash = cluster.hasher.hash(account: account, container: container)
        primaries = cluster.containers.devices(of: hash)
    }

    package func address(_ device: UInt16) -> TableAddress {
        TableAddress(device: device, kind: kind, hash: hash)
    }
}

/// What a majority of the replicas says of a table.
package struct TableState: Sendable {
    /// `nil` when it was never made.
    package var head: TableHead?
    package var sums: [TableSum]
    /// Timestamp of the newest row, deleted ones included.
    package var lastChange: Timestamp

    package var rows: Int64 { sums.reduce(0) { $0 + $1.rows } }
    package var bytes: Int64 { sums.reduce(0) { $0 + $1.bytes } }
    package var count: Int64 { sums.reduce(0) { $0 + $1.count } }

    package var isLive: Bool { head?.isLive(rows: rows) ?? false }

    /// Whether it is an account that is deleted and can't be made again yet.
    package func isRefusedAccount(at now: Timestamp) -> Bool { head?.isRefused(rows: rows, at: now) ?? false }
}
