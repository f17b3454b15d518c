/// Where names live: 2^`partPower` partitions, and for each replica of each the device that holds it.
///
/// ```swift
/// let ring = try RingFile.decode(bytes)
/// let partition = ring.partition(of: hasher.hash(path: "/AUTH_a/photos/cat.jpg".utf8))
/// for id in ring.primaries(of: partition) { print(ring.devices[id]!.ip) }
/// ```
///
/// A ring never changes; a `RingBuilder` makes the next one, with a higher `version`.
package struct Ring: Sendable {
    /// The number of partitions is 2 to this power, 0 to 32.
    package let partPower: Int
    /// The partition power a running increase will end with, if the file says so.
    package let nextPartPower: Int?
    /// Grows with every change; a node refuses a ring older than its own.
    package let version: Int
    /// The devices by id; `nil` where one was removed.
    package let devices: [RingDevice?]
    let table: AssignmentTable
    let tiers: DeviceTiers

    init(partPower: Int, nextPartPower: Int? = nil, version: Int, devices: [RingDevice?], table: AssignmentTable) {
        self.partPower = partPower
        self.nextPartPower = nextPartPower
        self.version = version
        self.devices = devices
        self.table = table
        tiers = DeviceTiers(devices: devices, table: table)
    }

    package var partitionCount: Int { 1 << partPower }

    /// The replicas per partition; a fraction says which part of the partitions has one more.
    package var replicaCount: Double { table.replicaCount }

    /// The partition of a name.
    package func partition(of hash: PathHash) -> Int {
        hash.partition(partPower: partPower)
    }

    /// The ids of the devices that should hold a name, in the order of the replicas.
    package func primaries(of hash: PathHash) -> PrimaryDevices {
        primaries(of: partition(of: hash))
    }

    /// The ids of the devices that should hold a partition, in the order of the replicas, each once. Nothing is allocated for up to
    /// `PrimaryDevices.inlineLimit` replicas.
    ///
    /// - Precondition: `0 <= partition < partitionCount`.
    package func primaries(of partition: Int) -> PrimaryDevices {
        precondition((0..<partitionCount).contains(partition), "no such partition")
        var result = PrimaryDevices()
        table.forEachDevice(of: partition) { result.insert($0) }
        return result
    }

    /// The ids of the devices that stand in for the primaries of a partition, best first, found as they are asked for: first one
    /// per region without a primary, then per zone, then per node, then every other device that holds anything.
    ///
    /// The order is that of OpenStack Swift's `Ring.get_more_nodes`.
    ///
    /// - Precondition: `0 <= partition < partitionCount`.
    package func handoffs(of partition: Int) -> Handoffs {
        Handoffs(ring: self, partition: partition)
    }

    /// The device of a replica of a partition, `nil` where the partition has no such replica or it is not assigned.
    package func device(ofReplica replica: Int, of partition: Int) -> Int? {
        guard replica < table.columns else { return nil }
        let id = table[partition, replica]
        return id == AssignmentTable.unassigned ? nil : Int(id)
    }
}

/// Dense numbers for the region, zone and node of every device, and how many of them hold anything.
struct DeviceTiers: Sendable {
    /// The tiers that count, outermost first: region, zone, node.
    static let levels = 3

    /// For each level and device id the number of its tier; 0 for ids without a device.
    private(set) var numbers: [[UInt32]] = []
    /// For each level how many of its tiers hold a partition.
    private(set) var assignedTiers: [Int] = []
    private(set) var assignedDevices = 0

    init(devices: [RingDevice?], table: AssignmentTable) {
        struct Tier: Hashable {
            var region: Int
            var zone = 0
            var ip = ""
        }
        var holds = [Bool](repeating: false, count: devices.count)
        for slot in 0..<table.partitionCount * table.columns {
            let id = table[slot: slot]
            if id != AssignmentTable.unassigned { holds[Int(id)] = true }
        }
        assignedDevices = holds.count { $0 }
        for level in 0..<Self.levels {
            var known = [Tier: UInt32]()
            var assigned = Set<UInt32>()
            var row = [UInt32](repeating: 0, count: devices.count)
            for case let device? in devices {
                var tier = Tier(region: device.region)
                if level > 0 { tier.zone = device.zone }
                if level > 1 { tier.ip = device.ip }
                let number = known[tier] ?? UInt32(known.count)
                known[tier] = number
                row[device.id] = number
                if holds[device.id] { assigned.insert(number) }
            }
            numbers.append(row)
            assignedTiers.append(assigned.count)
        }
    }
}
