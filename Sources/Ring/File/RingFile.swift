/// The file OpenStack Swift and Ringfort keep a ring in, `object.ring.gz`. `Documentation/formats/ring.md` has the layout.
///
/// Reads versions 1 and 2; writes version 1, which every release of OpenStack Swift reads, and version 2 only when a device id does not fit
/// into 16 bits.
package enum RingFile {
    /// What a file may ask for; anything above is refused before memory is taken for it.
    package enum Limit {
        /// Bytes of a file.
        package static let fileBytes = 512 << 20
        /// Bytes of the metadata, of the device list and of the index.
        package static let metadataBytes = 32 << 20
        package static let devices = 1 << 17
        package static let replicas = 256
        /// Replicas of all partitions together.
        package static let assignments = 1 << 28
    }

    static let magic = Array("R1NG".utf8)

    /// The bytes of a file for a ring. Equal rings give equal bytes.
    package static func encode(_ ring: Ring) -> [UInt8] {
        ring.table.isNarrow ? encodeVersion1(ring) : encodeVersion2(ring)
    }

    /// Reads the bytes of a file. Whatever they are, the result is a ring whose every assignment names a device, or an error.
    package static func decode(_ bytes: [UInt8]) throws(RingFileError) -> Ring {
        guard bytes.count <= Limit.fileBytes else { throw .tooLarge("the file", limit: Limit.fileBytes) }
        var reader = GzipReader(bytes)
        guard try reader.read(upTo: 4) == magic else { throw .notARing }
        let version = try reader.read(2).bigEndianInteger
        switch version {
        case 1: return try decodeVersion1(&reader)
        case 2: return try decodeVersion2(bytes)
        default: throw .unknownVersion(version)
        }
    }
}

/// Why bytes are not a ring file.
package enum RingFileError: Error, Hashable, Sendable, CustomStringConvertible {
    case notGzip
    case truncated
    case trailingBytes
    case notARing
    case unknownVersion(Int)
    case tooLarge(String, limit: Int)
    /// The metadata is not JSON.
    case metadata(JSONError)
    /// A member of the metadata is missing or has a value that makes no sense.
    case member(String)
    /// The device at this index of the list is not a device dictionary with that id.
    case device(Int)
    /// An assignment names a device that the list does not have.
    case unknownDevice(partition: Int, id: Int)
    case section(String)

    package var description: String {
        switch self {
        case .notGzip: "not a ring file: not gzip, or damaged"
        case .truncated: "the ring file ends too early"
        case .trailingBytes: "the ring file goes on after its end"
        case .notARing: "not a ring file: no R1NG magic"
        case .unknownVersion(let version): "ring file version \(version) is not known (1 and 2 are)"
        case .tooLarge(let what, let limit): "\(what) of the ring file is over the limit of \(limit)"
        case .metadata(let error): "the metadata of the ring file is not JSON: \(error)"
        case .member(let name): "the metadata of the ring file has no valid '\(name)'"
        case .device(let index): "entry \(index) of the ring file's devices is not a device with that id"
        case .unknownDevice(let partition, let id):
            "partition \(partition) is assigned to device \(id), which does not exist"
        case .section(let name): "section '\(name)' of the ring file is missing or damaged"
        }
    }
}

extension RingFile {
    /// What both versions say about a ring besides the assignments.
    struct Metadata {
        var partPower: Int
        var nextPartPower: Int?
        var version: Int
        var replicas: Double
        var devices: [RingDevice?]

        var columns: Int { Int(replicas.rounded(.up)) }
        var partitionCount: Int { 1 << partPower }
    }

    static func metadata(_ json: JSONValue, devices: JSONValue?) throws(RingFileError) -> Metadata {
        guard let shift = json["part_shift"]?.integer, (0...32).contains(shift) else { throw .member("part_shift") }
        guard let replicas = json["replica_count"]?.double, replicas >= 0 else { throw .member("replica_count") }
        guard replicas <= Double(Limit.replicas) else {
            throw .tooLarge("the number of replicas", limit: Limit.replicas)
        }
        guard replicas * Double(1 << (32 - shift)) <= Double(Limit.assignments) else {
            throw .tooLarge("the number of assignments", limit: Limit.assignments)
        }
        return Metadata(
            partPower: 32 - shift, nextPartPower: json["next_part_power"]?.integer,
            version: json["version"]?.integer ?? 0, replicas: replicas, devices: try self.devices(devices))
    }

    static func devices(_ json: JSONValue?) throws(RingFileError) -> [RingDevice?] {
        guard let list = json?.array else { throw .member("devs") }
        guard list.count <= Limit.devices else { throw .tooLarge("the number of devices", limit: Limit.devices) }
        var devices = [RingDevice?]()
        for (index, entry) in list.enumerated() {
            if entry == .null {
                devices.append(nil)
            } else if let device = RingDevice(json: entry), device.id == index {
                devices.append(device)
            } else {
                throw .device(index)
            }
        }
        return devices
    }

    static func parse(_ bytes: some Collection<UInt8>) throws(RingFileError) -> JSONValue {
        do throws(JSONError) { return try JSONValue(parsing: bytes) } catch { throw .metadata(error) }
    }

    /// Reads the rows of a table, one per replica. The last one may be shorter: `lastRowCount` says how long it is, `nil` that it goes to
    /// the end.
    static func readTable(
        _ metadata: Metadata, from reader: inout GzipReader, idBytes: Int, littleEndian: Bool, lastRowCount: Int?
    ) throws(RingFileError) -> AssignmentTable {
        let columns = metadata.columns
        let parts = metadata.partitionCount
        var table = AssignmentTable(partitionCount: 0, columns: 0, lastColumnCount: 0, largestID: 0)
        for column in 0..<columns {
            let isLast = column == columns - 1
            let row = try reader.read(upTo: (isLast ? lastRowCount ?? parts : parts) * idBytes)
            let count = row.count / idBytes
            guard row.count % idBytes == 0, count == (isLast ? lastRowCount ?? count : parts) else { throw .truncated }
            if column == 0 {
                // Only now: the bytes that arrived vouch for the size.
                table = AssignmentTable(
                    partitionCount: parts, columns: columns, lastColumnCount: parts,
                    largestID: metadata.devices.count - 1)
            }
            if isLast { table.lastColumnCount = count }
            try fill(&table, column: column, from: row, idBytes: idBytes, littleEndian: littleEndian, metadata.devices)
        }
        return table
    }

    private static func fill(
        _ table: inout AssignmentTable, column: Int, from row: [UInt8], idBytes: Int, littleEndian: Bool,
        _ devices: [RingDevice?]
    ) throws(RingFileError) {
        let exists = devices.map { $0 != nil }
        let none = idBytes == 2 ? 0xFFFF : 0xFFFF_FFFF
        for partition in 0..<row.count / idBytes {
            let id = row.integer(at: partition * idBytes, bytes: idBytes, littleEndian: littleEndian)
            if id == none { continue }
            guard id < exists.count, exists[id] else { throw .unknownDevice(partition: partition, id: id) }
            table[partition, column] = UInt32(id)
        }
    }

    /// One row of the table as the file has it.
    static func row(_ column: Int, of table: AssignmentTable, idBytes: Int) -> [UInt8] {
        var bytes = [UInt8]()
        let count = table.count(ofColumn: column)
        bytes.reserveCapacity(count * idBytes)
        for partition in 0..<count {
            let id = table[partition, column]
            if idBytes == 2 {
                bytes.append(bigEndian: UInt16(truncatingIfNeeded: id))
            } else {
                bytes.append(bigEndian: id)
            }
        }
        return bytes
    }
}

extension [UInt8] {
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    /// All bytes as one number; at most 7 of them.
    var bigEndianInteger: Int {
        reduce(0) { $0 << 8 | Int($1) }
    }

    @inline(__always)
    func integer(at offset: Int, bytes: Int, littleEndian: Bool) -> Int {
        var value = 0
        for index in 0..<bytes {
            value = value << 8 | Int(self[offset + (littleEndian ? bytes - 1 - index : index)])
        }
        return value
    }
}
