/// The file a builder is kept in between changes, `object.builder`. `Documentation/formats/ring.md` has the layout.
///
/// The format is our own: OpenStack Swift keeps its builders as Python pickles.
package enum BuilderFile {
    static let magic = Array("RFBUILD".utf8)
    static let version: UInt8 = 1

    /// The bytes of a file for a builder; writing them atomically is up to the caller.
    package static func encode(_ builder: RingBuilder) -> [UInt8] {
        let table = builder.table
        let metadata = JSONValue.object([
            JSONMember("columns", .integer(table?.columns ?? 0)),
            JSONMember("devs", .array(builder.devices.map { $0?.json ?? .null })),
            JSONMember("has_changes", .bool(builder.hasChanges)),
            JSONMember("last_column_count", .integer(table?.lastColumnCount ?? 0)),
            JSONMember("min_part_hours", .integer(builder.minPartHours)),
            JSONMember("overload", .number(builder.overload)),
            JSONMember("part_power", .integer(builder.partPower)),
            JSONMember("rebalanced", .bool(table != nil)),
            JSONMember("removed", .array(builder.removedDevices.sorted().map { .integer($0) })),
            JSONMember("replicas", .number(builder.replicas)),
            JSONMember("version", .integer(builder.version)),
        ]).encoded
        var writer = GzipWriter()
        var head = magic + [version]
        head.append(bigEndian: UInt32(metadata.count))
        writer.write(head + metadata)
        if let table {
            for column in 0..<table.columns { writer.write(RingFile.row(column, of: table, idBytes: 4)) }
            var moments = [UInt8]()
            moments.append(bigEndian: UInt32(builder.lastMoved.count))
            for moment in builder.lastMoved { moments.append(bigEndian: moment) }
            writer.write(moments)
        }
        writer.finish()
        return writer.output
    }

    /// Reads the bytes of a file. Whatever they are, the result is a sound builder or an error.
    package static func decode(_ bytes: [UInt8]) throws(BuilderFileError) -> RingBuilder {
        do {
            var reader = GzipReader(bytes)
            guard try reader.read(upTo: magic.count) == magic else { throw BuilderFileError.notABuilder }
            let version = try reader.read(1)[0]
            guard version == Self.version else { throw BuilderFileError.unknownVersion(Int(version)) }
            let length = try reader.read(4).bigEndianInteger
            guard length <= RingFile.Limit.metadataBytes else {
                throw RingFileError.tooLarge("the metadata", limit: RingFile.Limit.metadataBytes)
            }
            let json = try RingFile.parse(try reader.read(length))
            var builder = try settings(json)
            if json["rebalanced"] == .bool(true) { try readAssignments(json, &reader, into: &builder) }
            try reader.expectEnd()
            return builder
        } catch let error as RingFileError {
            throw .damaged(error)
        } catch let error as RingBuilderError {
            throw .setting(error)
        } catch let error as BuilderFileError {
            throw error
        } catch {
            throw .notABuilder
        }
    }

    private static func settings(_ json: JSONValue) throws -> RingBuilder {
        guard let partPower = json["part_power"]?.integer else { throw RingFileError.member("part_power") }
        guard let replicas = json["replicas"]?.double else { throw RingFileError.member("replicas") }
        guard let hours = json["min_part_hours"]?.integer else { throw RingFileError.member("min_part_hours") }
        guard let overload = json["overload"]?.double else { throw RingFileError.member("overload") }
        guard let version = json["version"]?.integer, version >= 0 else { throw RingFileError.member("version") }
        var builder = try RingBuilder(partPower: partPower, replicas: replicas, minPartHours: hours)
        try builder.setOverload(overload)
        builder.devices = try RingFile.devices(json["devs"])
        for id in json["removed"]?.array ?? [] {
            guard let id = id.integer else { throw RingFileError.member("removed") }
            try builder.remove(id)
        }
        builder.hasChanges = json["has_changes"] == .bool(true)
        builder.version = version
        return builder
    }

    private static func readAssignments(
        _ json: JSONValue, _ reader: inout GzipReader, into builder: inout RingBuilder
    ) throws {
        let partitions = builder.partitionCount
        guard let columns = json["columns"]?.integer, (1...RingFile.Limit.replicas).contains(columns),
            columns * partitions <= RingFile.Limit.assignments + partitions
        else { throw RingFileError.member("columns") }
        guard let last = json["last_column_count"]?.integer, (1...partitions).contains(last) else {
            throw RingFileError.member("last_column_count")
        }
        let metadata = RingFile.Metadata(
            partPower: builder.partPower, version: builder.version, replicas: Double(columns), devices: builder.devices)
        builder.table = try RingFile.readTable(
            metadata, from: &reader, idBytes: 4, littleEndian: false, lastRowCount: last)
        let count = try reader.read(4).bigEndianInteger
        guard count == 0 || count == partitions else { throw RingFileError.member("last moves") }
        let moments = try reader.read(count * 4)
        builder.lastMoved = (0..<count).map {
            UInt32(moments.integer(at: $0 * 4, bytes: 4, littleEndian: false))
        }
    }
}

/// Why bytes are not a builder file.
package enum BuilderFileError: Error, Hashable, Sendable, CustomStringConvertible {
    case notABuilder
    case unknownVersion(Int)
    case damaged(RingFileError)
    case setting(RingBuilderError)

    package var description: String {
        switch self {
        case .notABuilder: "not a Ringfort builder file (those of swift-ring-builder cannot be read)"
        case .unknownVersion(let version): "builder file version \(version) is not known"
        case .damaged(.notGzip): BuilderFileError.notABuilder.description
        case .damaged(let error): "the builder file is damaged: \(error)"
        case .setting(let error): "the builder file is damaged: \(error)"
        }
    }
}
