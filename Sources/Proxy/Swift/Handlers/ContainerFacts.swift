package import Access
package import NIOCore
package import Ring
package import StorageWire
import Synchronization

/// What requests for objects have to know of their container.
package final class ContainerFacts: Sendable {
    package let hash: PathHash
    package let head: TableHead
    package let readACL: ContainerACL?
    package let writeACL: ContainerACL?
    /// `nil` when the container allows no origin.
    package let cors: CORS?

    package init(of hash: PathHash, head: TableHead) {
        self.hash = hash
        self.head = head
        readACL = head.value(of: "X-Container-Read").map { ContainerACL(stored: $0, for: .read) }
        writeACL = head.value(of: "X-Container-Write").map { ContainerACL(stored: $0, for: .write) }
        cors =
            head.value(of: "X-Container-Meta-Access-Control-Allow-Origin") == nil
            ? nil : CORS(containerMetadata: head.items)
    }
}

extension TableHead {
    /// The metadata that is there, as the rules of the API take it.
    package var items: [MetadataItem] {
        metadata.filter { !$0.value.isEmpty }.map { MetadataItem(name: $0.name, value: $0.value) }
    }
}

/// Containers, and accounts that are not deleted, which were looked up a moment ago. Writes through this proxy take them out at once; those through others are seen when
/// the entry is too old.
package final class ContainerFactsCache: Sendable {
    private struct State {
        var entries: [PathHash: (facts: ContainerFacts, expires: NIODeadline)] = [:]
        /// Until when an account counts as not deleted.
        var accounts: [PathHash: NIODeadline] = [:]
        var generation: UInt64 = 0
    }

    private let state = Mutex(State())

    /// How long another proxy's change may go unseen.
    private static let lifetime = TimeAmount.seconds(2)
    private static let maximumEntries = 10_000

    package init() {}

    package func facts(of container: PathHash, now: NIODeadline) -> ContainerFacts? {
        state.withLock { state in
            guard let entry = state.entries[container], entry.expires > now else { return nil }
            return entry.facts
        }
    }

    /// To be taken before a look-up and given to `insert` after it.
    package var generation: UInt64 { state.withLock { $0.generation } }

    /// Keeps what was found, unless something was written since `generation`.
    package func insert(_ facts: ContainerFacts, generation: UInt64, now: NIODeadline) {
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.entries.count >= Self.maximumEntries { state.entries.removeAll(keepingCapacity: true) }
            state.entries[facts.hash] = (facts, now + Self.lifetime)
        }
    }

    /// Whether the account is known not to be deleted.
    package func isUsable(account: PathHash, now: NIODeadline) -> Bool {
        state.withLock { state in state.accounts[account].map { $0 > now } ?? false }
    }

    /// Keeps that an account is not deleted, unless something was written since `generation`.
    package func insert(usableAccount account: PathHash, generation: UInt64, now: NIODeadline) {
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.accounts.count >= Self.maximumEntries { state.accounts.removeAll(keepingCapacity: true) }
            state.accounts[account] = now + Self.lifetime
        }
    }

    /// An account was deleted: which of the containers are its own is not known here.
    package func removeAll() {
        state.withLock { state in
            state.generation += 1
            state.entries.removeAll(keepingCapacity: true)
            state.accounts.removeAll(keepingCapacity: true)
        }
    }

    package func remove(_ container: PathHash) {
        state.withLock { state in
            state.generation += 1
            state.entries[container] = nil
        }
    }
}
