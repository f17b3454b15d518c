import Daemon
import StorageWire
import Synchronization

/// What is measured of each device, read when somebody asks.
final class DeviceMetrics: Sendable {
    /// Names that have their gauges: a device that left and came back keeps them.
    private let registered = Mutex<Set<UInt16>>([])

    private static let gauges: [(String, String, any KeyPath<DeviceStatus, Int64> & Sendable)] = [
        ("ringfort_device_total_bytes", "Size of the device's file system", \.totalBytes),
        ("ringfort_device_free_bytes", "Free bytes of the device's file system", \.freeBytes),
        ("ringfort_device_objects", "Live objects", \.objects),
        ("ringfort_device_tombstones", "Tombstones", \.tombstones),
        ("ringfort_device_rows", "Live rows of listings", \.rows),
        ("ringfort_device_live_bytes", "Bytes of records in use", \.liveBytes),
        ("ringfort_device_garbage_bytes", "Bytes of records that compaction will give back", \.garbageBytes),
        ("ringfort_device_queue_depth", "Writes waiting for the commit stream", \.queueDepth),
        ("ringfort_device_pending_updates", "Container rows waiting for their replica", \.pendingUpdates),
        ("ringfort_device_quarantined", "Damaged records and bodies set aside", \.quarantined),
        ("ringfort_device_commits", "Group commits since the start", \.commits),
        ("ringfort_device_committed_records", "Records in those", \.committedRecords),
        ("ringfort_device_behind_partitions", "Partitions in which the device is behind", \.behindPartitions),
        ("ringfort_device_misplaced_objects", "Objects that belong on other devices", \.misplacedObjects),
        ("ringfort_device_misplaced_bytes", "Bytes of those, an estimate where they are large", \.misplacedBytes),
        ("ringfort_device_misplaced_tables", "Containers and accounts that belong elsewhere", \.misplacedTables),
        (
            "ringfort_device_settled_version",
            "Version of the rings for which nothing is left to replicate, -1 while something is", \.settledVersion
        ),
    ]

    /// Adds the gauges of devices that have none yet.
    func register(_ handler: NodeHandler, on registry: MetricsRegistry) throws {
        for device in handler.status().devices where registered.withLock({ $0.insert(device.device).inserted }) {
            for (name, help, value) in Self.gauges {
                try registry.gauge(name, help, labels: [("device", device.name), ("id", "\(device.device)")]) {
                    Double(handler.deviceStatus(device.device)[keyPath: value])
                }
            }
        }
    }
}
