/// Makes rings and changes them with as little movement of data as possible.
///
/// ```swift
/// var builder = try RingBuilder(partPower: 14, replicas: 3, minPartHours: 1)
/// for zone in 1...4 { try builder.add(RingDevice(zone: zone, ip: "10.0.0.\(zone)", port: 6200, device: "d1", weight: 100)) }
/// try builder.rebalance(now: secondsSince1970)
/// let file = RingFile.encode(builder.ring())
/// ```
///
/// The rules are those of OpenStack Swift's `RingBuilder`: devices get partitions by weight; replicas of a partition are kept apart by region,
/// zone, node and device, as far as weights plus `overload` allow; a partition moves at most one replica per rebalance and then rests for
/// `minPartHours`, removed devices excepted.
package struct RingBuilder: Sendable {
    /// About eleven years.
    package static let maxMinPartHours = 99_999

    package let partPower: Int
    /// The replicas per partition; with a fraction, that part of the partitions has one more.
    package private(set) var replicas: Double
    /// How long a partition rests after one of its replicas has moved.
    package private(set) var minPartHours: Int
    /// How much more than its weight a device may take to keep replicas apart: 0.1 is ten per cent.
    package private(set) var overload = 0.0
    /// Grows with every change.
    package internal(set) var version = 0
    /// The devices by id; `nil` where one was removed.
    package internal(set) var devices: [RingDevice?] = []
    /// Devices that lose their partitions and disappear with the next rebalance.
    package internal(set) var removedDevices: Set<Int> = []
    /// Something has changed since the last rebalance.
    package internal(set) var hasChanges = false
    /// `nil` until the first rebalance.
    var table: AssignmentTable?
    /// For each partition when a replica of it last moved, in seconds since 1970; 0 = long ago.
    var lastMoved: [UInt32] = []

    package init(partPower: Int, replicas: Double, minPartHours: Int) throws(RingBuilderError) {
        guard (0...32).contains(partPower) else { throw .partPower(partPower) }
        self.partPower = partPower
        self.replicas = 1
        self.minPartHours = 0
        try setReplicas(replicas)
        try setMinPartHours(minPartHours)
        hasChanges = false
        version = 0
    }

    package var partitionCount: Int { 1 << partPower }

    /// Adds a device under the lowest free id, or under `id`, and gives that id. The `id` inside `device` does not matter.
    @discardableResult
    package mutating func add(_ device: RingDevice, id wanted: Int? = nil) throws(RingBuilderError) -> Int {
        guard device.weight >= 0, device.weight.isFinite else { throw .weight(device.weight) }
        let id = wanted ?? devices.firstIndex(of: nil) ?? devices.count
        guard (0..<RingFile.Limit.devices).contains(id) else { throw .tooManyDevices }
        if id < devices.count, devices[id] != nil { throw .duplicateDevice(id) }
        while devices.count <= id { devices.append(nil) }
        var added = device
        added.id = id
        devices[id] = added
        noteChange()
        return id
    }

    /// Gives a device more or less to hold; 0 drains it while `minPartHours` is respected.
    package mutating func setWeight(_ weight: Double, of id: Int) throws(RingBuilderError) {
        guard weight >= 0, weight.isFinite else { throw .weight(weight) }
        try requireDevice(id)
        devices[id]?.weight = weight
        noteChange()
    }

    /// Changes where a device is. What it holds stays with it until a rebalance finds a better place for the replicas.
    package mutating func place(_ id: Int, region: Int, zone: Int, ip: String, port: Int) throws(RingBuilderError) {
        try requireDevice(id)
        guard var device = devices[id] else { return }
        device.region = region
        device.zone = zone
        device.ip = ip
        device.port = port
        device.replicationIP = ip
        device.replicationPort = port
        guard device != devices[id] else { return }
        devices[id] = device
        noteChange()
    }

    /// Marks a device for removal: the next rebalance moves everything it holds at once, as after a failure.
    package mutating func remove(_ id: Int) throws(RingBuilderError) {
        try requireDevice(id)
        devices[id]?.weight = 0
        removedDevices.insert(id)
        noteChange()
    }

    package mutating func setOverload(_ overload: Double) throws(RingBuilderError) {
        guard overload >= 0, overload.isFinite else { throw .overload(overload) }
        self.overload = overload
        noteChange()
    }

    package mutating func setReplicas(_ replicas: Double) throws(RingBuilderError) {
        guard replicas >= 1, replicas <= Double(RingFile.Limit.replicas) else { throw .replicas(replicas) }
        guard replicas * Double(partitionCount) <= Double(RingFile.Limit.assignments) else { throw .tooManyAssignments }
        self.replicas = replicas
        noteChange()
    }

    package mutating func setMinPartHours(_ hours: Int) throws(RingBuilderError) {
        guard (0...Self.maxMinPartHours).contains(hours) else { throw .minPartHours(hours) }
        minPartHours = hours
    }

    /// Lets the next rebalance move every partition, whenever it moved last.
    package mutating func pretendMinPartHoursPassed() {
        lastMoved = []
    }

    /// Seconds from `now` until every partition may move again.
    package func secondsUntilMovable(now: Int) -> Int {
        guard let last = lastMoved.max(), last > 0 else { return 0 }
        return max(0, Int(last) + minPartHours * 3600 - now)
    }

    /// How many partitions may not move yet, but for those of removed devices.
    package func restingPartitions(now: Int) -> Int {
        resting(now: now).count { $0 }
    }

    /// The ring as it stands, without any assignment before the first rebalance.
    package func ring() -> Ring {
        let empty = AssignmentTable(partitionCount: partitionCount, columns: 0, lastColumnCount: 0, largestID: 0)
        return Ring(partPower: partPower, version: version, devices: devices, table: table ?? empty)
    }

    /// The shape of the table for the wanted number of replicas: the rows there are, and how many partitions have the last one.
    var shape: (columns: Int, lastColumnCount: Int) {
        let whole = Int(replicas)
        let extra = Int(Double(partitionCount) * (replicas - Double(whole)))
        return extra > 0 ? (whole + 1, extra) : (whole, partitionCount)
    }

    private func requireDevice(_ id: Int) throws(RingBuilderError) {
        guard devices.indices.contains(id), devices[id] != nil else { throw .noSuchDevice(id) }
        guard !removedDevices.contains(id) else { throw .removedDevice(id) }
    }

    private mutating func noteChange() {
        hasChanges = true
        version += 1
    }
}
