/// Why a builder refuses something. Nothing has changed then.
package enum RingBuilderError: Error, Hashable, Sendable, CustomStringConvertible {
    case partPower(Int)
    case replicas(Double)
    case minPartHours(Int)
    case weight(Double)
    case overload(Double)
    /// Partitions times replicas is over `RingFile.Limit.assignments`.
    case tooManyAssignments
    case tooManyDevices
    case duplicateDevice(Int)
    case noSuchDevice(Int)
    /// The device is marked for removal.
    case removedDevice(Int)
    /// Every replica needs a device of its own with a weight.
    case tooFewDevices(needed: Int, have: Int)
    case neverRebalanced
    case unassigned(partition: Int, replica: Int)
    case unknownDevice(partition: Int, device: Int)
    case sharedDevice(partition: Int, device: Int)

    package var description: String {
        switch self {
        case .partPower(let value): "the partition power has to be 0 to 32, not \(value)"
        case .replicas(let value): "the number of replicas has to be 1 to \(RingFile.Limit.replicas), not \(value)"
        case .minPartHours(let value): "min_part_hours has to be 0 to \(RingBuilder.maxMinPartHours), not \(value)"
        case .weight(let value): "a weight has to be 0 or more, not \(value)"
        case .overload(let value): "the overload has to be 0 or more, not \(value)"
        case .tooManyAssignments: "partitions times replicas is over \(RingFile.Limit.assignments)"
        case .tooManyDevices: "a ring has at most \(RingFile.Limit.devices) devices"
        case .duplicateDevice(let id): "there is a device \(id) already"
        case .noSuchDevice(let id): "there is no device \(id)"
        case .removedDevice(let id): "device \(id) is marked for removal"
        case .tooFewDevices(let needed, let have):
            "\(needed) replicas need as many devices with a weight, there are \(have)"
        case .neverRebalanced: "the ring has no assignments yet: rebalance it first"
        case .unassigned(let partition, let replica): "replica \(replica) of partition \(partition) has no device"
        case .unknownDevice(let partition, let device):
            "partition \(partition) is on device \(device), which does not exist"
        case .sharedDevice(let partition, let device): "partition \(partition) is on device \(device) twice"
        }
    }
}
