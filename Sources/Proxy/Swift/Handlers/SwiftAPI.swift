package import Access
package import HTTPServer
package import Logging
import NIOCore
package import StorageWire
import Synchronization

/// What all requests of the Swift API share, on all event loops.
package final class SwiftAPI: Sendable {
    package let cluster: Cluster
    package let users: UserDirectory
    package let constraints: Constraints
    package let facts = ContainerFactsCache()
    package let metrics: ProxyMetrics
    package let logger: Logger
    package let timestamps: TimestampSource
    /// The body of `/info`.
    package let info: [UInt8]
    private let transactionIDs: Mutex<TransactionIDGenerator>

    /// - Parameter seed: random, makes transaction ids and multipart boundaries.
    package init(
        cluster: Cluster, users: UserDirectory, constraints: Constraints, metrics: ProxyMetrics, logger: Logger,
        timestamps: TimestampSource, version: String, seed: (UInt64, UInt64, UInt64, UInt64)
    ) {
        self.cluster = cluster
        self.users = users
        self.constraints = constraints
        self.metrics = metrics
        self.logger = logger
        self.timestamps = timestamps
        info = InfoDocument(
            version: version,
            policies: cluster.policies.map { InfoDocument.Policy(name: $0.name, isDefault: $0.isDefault) },
            constraints: constraints, autocreatesAccounts: true, hasUsers: true
        ).json()
        transactionIDs = Mutex(TransactionIDGenerator(seed: seed))
    }

    /// Seconds since 1970.
    func now() -> UInt64 { timestamps.wallTicks() / SwiftTimestamp.ticksPerSecond }

    func transactionID(extra: [UInt8]?) -> [UInt8] {
        let now = now()
        return transactionIDs.withLock { $0.next(now: now, extra: extra) }
    }

    func randomBoundary() -> (high: UInt64, low: UInt64) {
        (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))
    }

    func policyName(_ index: UInt8) -> String {
        cluster.policies.first { $0.index == index }?.name ?? cluster.defaultPolicy.name
    }

    /// The policy that a client named, in any case.
    func policy(named name: [UInt8]) -> StoragePolicy? {
        cluster.policies.first { Array($0.name.utf8).equalsIgnoringCase(name) }
    }
}

extension RequestHead: HeaderFields {}

extension [UInt8] {
    fileprivate func equalsIgnoringCase(_ other: [UInt8]) -> Bool {
        count == other.count && zip(self, other).allSatisfy { ASCII.lower($0) == ASCII.lower($1) }
    }
}
