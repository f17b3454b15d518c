package import StorageWire
import Synchronization

/// The containers that changed since their accounts were last told.
package final class ChangedContainers: Sendable {
    private let tables = Mutex<Set<TableAddress>>([])

    package init() {}

    package func insert(_ table: TableAddress) {
        tables.withLock { _ = $0.insert(table) }
    }

    /// At most `limit` of them, which are then no longer there.
    package func take(limit: Int) -> [TableAddress] {
        tables.withLock { tables in
            if tables.count <= limit {
                let all = Array(tables)
                tables.removeAll(keepingCapacity: true)
                return all
            }
            let some = Array(tables.prefix(limit))
            tables.subtract(some)
            return some
        }
    }
}
