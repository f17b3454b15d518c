package import Ring
package import StorageWire

/// Where things are: the rings, and the nodes that have their devices. It never changes: when rings do, there is another.
package final class Cluster: Sendable {
    package let hasher: PathHasher
    package let accounts: Ring
    package let containers: Ring
    /// One ring per storage policy, by its index.
    package let objects: [UInt8: Ring]
    package let policies: [StoragePolicy]
    package let nodes: any NodeDirectory

    package init(
        hasher: PathHasher, accounts: Ring, containers: Ring, objects: [UInt8: Ring], policies: [StoragePolicy],
        nodes: any NodeDirectory
    ) {
        self.hasher = hasher
        self.accounts = accounts
        self.containers = containers
        self.objects = objects
        self.policies = policies
        self.nodes = nodes
    }

    package var defaultPolicy: StoragePolicy { policies.first { $0.isDefault } ?? policies[0] }
}

/// How the objects of a container are kept.
package struct StoragePolicy: Equatable, Sendable {
    package var index: UInt8
    package var name: String
    package var isDefault: Bool

    package init(index: UInt8, name: String, isDefault: Bool) {
        self.index = index
        self.name = name
        self.isDefault = isDefault
    }
}
