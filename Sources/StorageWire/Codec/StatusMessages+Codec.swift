import NIOCore

extension StorageFailure {
    private static let maximumDetail = 1024

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(reason.rawValue)
        buffer.write(detail, limit: Self.maximumDetail)
    }

    init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.integer(UInt8.self)
        guard let reason = Reason(rawValue: number) else { throw .malformed("failure \(number)") }
        self.reason = reason
        detail = try reader.text(limit: Self.maximumDetail)
    }
}

extension NodeStatus {
    private static let maximumDevices = 4096

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(ringsVersion)
        buffer.writeInteger(UInt16(clamping: devices.count))
        for device in devices { device.encode(into: &buffer) }
    }

    init(from reader: inout WireReader) throws(WireError) {
        ringsVersion = try reader.integer()
        let count = try reader.count(limit: Self.maximumDevices, size: DeviceStatus.smallestSize)
        devices = []
        devices.reserveCapacity(count)
        for _ in 0..<count { devices.append(try DeviceStatus(from: &reader)) }
    }
}

extension DeviceStatus {
    private static let maximumText = 255
    /// Device, two empty texts, seventeen numbers.
    static let smallestSize = 2 + 2 + 2 + 17 * 8

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(device)
        buffer.write(name, limit: Self.maximumText)
        buffer.write(state, limit: Self.maximumText)
        buffer.writeMultipleIntegers(totalBytes, freeBytes, objects, tombstones, rows, liveBytes)
        buffer.writeMultipleIntegers(garbageBytes, queueDepth, pendingUpdates, quarantined, commits, committedRecords)
        buffer.writeMultipleIntegers(
            behindPartitions, misplacedObjects, misplacedBytes, misplacedTables, settledVersion)
    }

    init(from reader: inout WireReader) throws(WireError) {
        device = try reader.integer()
        name = try reader.text(limit: Self.maximumText)
        state = try reader.text(limit: Self.maximumText)
        totalBytes = try reader.integer()
        freeBytes = try reader.integer()
        objects = try reader.integer()
        tombstones = try reader.integer()
        rows = try reader.integer()
        liveBytes = try reader.integer()
        garbageBytes = try reader.integer()
        queueDepth = try reader.integer()
        pendingUpdates = try reader.integer()
        quarantined = try reader.integer()
        commits = try reader.integer()
        committedRecords = try reader.integer()
        behindPartitions = try reader.integer()
        misplacedObjects = try reader.integer()
        misplacedBytes = try reader.integer()
        misplacedTables = try reader.integer()
        settledVersion = try reader.integer()
    }
}

extension ProgramReport {
    private static let maximumText = 64

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(version, limit: Self.maximumText)
        buffer.write(build, limit: Self.maximumText)
        buffer.writeMultipleIntegers(wire.lowerBound.rawValue, wire.upperBound.rawValue)
    }

    init(from reader: inout WireReader) throws(WireError) {
        version = try reader.text(limit: Self.maximumText)
        build = try reader.text(limit: Self.maximumText)
        wire = try reader.versions()
    }
}

extension WireReader {
    /// The oldest and the newest version that a peer speaks.
    mutating func versions() throws(WireError) -> ClosedRange<WireVersion> {
        let oldest = WireVersion(rawValue: try integer())
        let newest = WireVersion(rawValue: try integer())
        guard oldest <= newest else { throw .malformed("versions \(oldest) to \(newest)") }
        return oldest...newest
    }
}
