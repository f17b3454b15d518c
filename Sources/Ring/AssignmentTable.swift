/// Which device holds which replica of which partition: device ids in partition order, the replicas of one partition side by side.
///
/// A lookup touches one cache line. Ids take 16 bits where they fit, as in version 1 of the ring file.
struct AssignmentTable: Sendable, Hashable {
    /// The id that stands for "no device": never a valid index.
    static let unassigned = UInt32.max
    /// The largest id that 16 bits can hold, 65535 being "no device".
    static let narrowLimit = 65534

    let partitionCount: Int
    /// Replicas of a partition, the one that only some partitions have included.
    let columns: Int
    /// Partitions that have the last replica; `partitionCount` unless the number of replicas is fractional.
    var lastColumnCount: Int
    private var narrow: [UInt16] = []
    private var wide: [UInt32] = []

    /// A table without any assignment.
    init(partitionCount: Int, columns: Int, lastColumnCount: Int, largestID: Int) {
        self.partitionCount = partitionCount
        self.columns = columns
        self.lastColumnCount = lastColumnCount
        if largestID <= Self.narrowLimit {
            narrow = [UInt16](repeating: .max, count: partitionCount * columns)
        } else {
            wide = [UInt32](repeating: .max, count: partitionCount * columns)
        }
    }

    var isNarrow: Bool { wide.isEmpty }

    /// Partitions of a replica: all of them, or fewer for the last one.
    func count(ofColumn column: Int) -> Int {
        column == columns - 1 ? lastColumnCount : partitionCount
    }

    /// Assigned or not, the slots there are.
    var slotCount: Int {
        columns == 0 ? 0 : partitionCount * (columns - 1) + lastColumnCount
    }

    subscript(partition: Int, column: Int) -> UInt32 {
        get { self[slot: partition * columns + column] }
        set { self[slot: partition * columns + column] = newValue }
    }

    /// The slot of replica `column` of `partition` is `partition * columns + column`.
    subscript(slot slot: Int) -> UInt32 {
        get {
            if wide.isEmpty {
                let id = narrow[slot]
                return id == .max ? Self.unassigned : UInt32(id)
            }
            return wide[slot]
        }
        set {
            if wide.isEmpty { narrow[slot] = UInt16(truncatingIfNeeded: newValue) } else { wide[slot] = newValue }
        }
    }

    /// Gives the devices of a partition, replica by replica: the hot path of a lookup, with one bounds check instead of one per replica.
    @inline(__always)
    func forEachDevice(of partition: Int, _ body: (UInt32) -> Void) {
        let slots = partition * columns..<partition * columns + columns
        if wide.isEmpty {
            narrow.withUnsafeBufferPointer { ids in
                for id in UnsafeBufferPointer(rebasing: ids[slots]) where id != .max { body(UInt32(id)) }
            }
        } else {
            wide.withUnsafeBufferPointer { ids in
                for id in UnsafeBufferPointer(rebasing: ids[slots]) where id != Self.unassigned { body(id) }
            }
        }
    }

    /// The replicas of all partitions whose number has the last column only where it exists.
    var replicaCount: Double {
        columns == 0 ? 0 : Double(columns - 1) + Double(lastColumnCount) / Double(partitionCount)
    }
}
