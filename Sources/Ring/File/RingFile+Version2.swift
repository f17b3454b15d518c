extension RingFile {
    private enum Section {
        static let metadata = "swift/ring/metadata"
        static let devices = "swift/ring/devices"
        static let assignments = "swift/ring/assignments"
    }

    /// Version 2: named sections, each at a place where decompression can start, and at the end their index.
    static func encodeVersion2(_ ring: Ring) -> [UInt8] {
        var head = magic
        head.append(bigEndian: UInt16(2))
        var writer = GzipWriter()
        writer.write(head)
        writer.flush()
        let idBytes = ring.table.isNarrow ? 2 : 4
        var members = [JSONMember("dev_id_bytes", .integer(idBytes))]
        if let next = ring.nextPartPower { members.append(JSONMember("next_part_power", .integer(next))) }
        members += [
            JSONMember("part_shift", .integer(32 - ring.partPower)),
            JSONMember("replica_count", .number(ring.replicaCount)),
            JSONMember("version", .integer(ring.version)),
        ]
        var index = [JSONMember]()
        func section(_ name: String, count: Int, _ parts: some Sequence<[UInt8]>) {
            let start = (writer.output.count, writer.uncompressedCount)
            let digest = SHA256()
            var length = [UInt8]()
            length.append(bigEndian: UInt64(count))
            digest.update(length)
            writer.write(length)
            for part in parts {
                digest.update(part)
                writer.write(part)
            }
            writer.flush()
            index.append(
                JSONMember(
                    name,
                    .array([
                        .integer(start.0), .integer(start.1), .integer(writer.output.count),
                        .integer(writer.uncompressedCount), .string("sha256"), .string(digest.finish()),
                    ])))
        }
        let metadata = JSONValue.object(members).encoded
        section(Section.metadata, count: metadata.count, [metadata])
        let devices = JSONValue.array(ring.devices.map { $0?.json ?? .null }).encoded
        section(Section.devices, count: devices.count, [devices])
        section(
            Section.assignments, count: ring.table.slotCount * idBytes,
            (0..<ring.table.columns).lazy.map { row($0, of: ring.table, idBytes: idBytes) })
        writeIndex(index, to: &writer)
        return writer.output
    }

    /// The index and, stored so that it lies 31 bytes before the end, where it starts.
    private static func writeIndex(_ index: [JSONMember], to writer: inout GzipWriter) {
        let start = (compressed: writer.output.count, uncompressed: writer.uncompressedCount)
        let text = JSONValue.object(index.sorted { $0.name < $1.name }).encoded
        var length = [UInt8]()
        length.append(bigEndian: UInt64(text.count))
        writer.write(length + text)
        writer.flush()
        writer.store(true)
        for position in [start.uncompressed, start.compressed] {
            var pointer = [UInt8]()
            pointer.append(bigEndian: UInt64(position))
            writer.write(pointer)
            writer.flush()
        }
        writer.finish()
    }

    /// Where the pointer to the index lies before the end: a stored block of 5 + 8 bytes, a flush of 5, an empty last block of 5, the gzip
    /// trailer of 8.
    private static let indexPointerDistance = 31

    static func decodeVersion2(_ bytes: [UInt8]) throws(RingFileError) -> Ring {
        guard bytes.count > indexPointerDistance else { throw .truncated }
        var pointerReader = GzipReader(bytes, offset: bytes.count - indexPointerDistance)
        let indexStart = try pointerReader.read(8).length
        guard let indexStart, indexStart > 0, indexStart < bytes.count else { throw .section("index") }
        var indexReader = GzipReader(bytes, offset: indexStart)
        let index = try parse(try blob(&indexReader, named: "index"))

        let json = try parse(try jsonSection(Section.metadata, of: bytes, index))
        let metadata = try metadata(json, devices: try parse(try jsonSection(Section.devices, of: bytes, index)))
        guard let idBytes = json["dev_id_bytes"]?.integer, [2, 4].contains(idBytes) else {
            throw .member("dev_id_bytes")
        }
        let table = try assignments(metadata, idBytes: idBytes, of: bytes, index)
        return Ring(
            partPower: metadata.partPower, nextPartPower: metadata.nextPartPower, version: metadata.version,
            devices: metadata.devices, table: table)
    }

    /// A length and so many bytes.
    private static func blob(_ reader: inout GzipReader, named name: String) throws(RingFileError) -> [UInt8] {
        guard let length = try reader.read(8).length else { throw .section(name) }
        guard length <= Limit.metadataBytes else { throw .tooLarge("section '\(name)'", limit: Limit.metadataBytes) }
        return try reader.read(length)
    }

    /// A section's start in the file and the digest it should have.
    private static func entry(
        _ name: String, _ index: JSONValue, fileCount: Int
    ) throws(RingFileError) -> (start: Int, digest: String) {
        guard let entry = index[name]?.array, entry.count >= 6, let start = entry[0].integer, start > 0,
            start < fileCount, entry[4].string == "sha256", let digest = entry[5].string
        else { throw .section(name) }
        return (start, digest)
    }

    private static func jsonSection(
        _ name: String, of bytes: [UInt8], _ index: JSONValue
    ) throws(RingFileError) -> [UInt8] {
        let entry = try entry(name, index, fileCount: bytes.count)
        var reader = GzipReader(bytes, offset: entry.start)
        let data = try blob(&reader, named: name)
        let digest = SHA256()
        var length = [UInt8]()
        length.append(bigEndian: UInt64(data.count))
        digest.update(length)
        digest.update(data)
        guard digest.finish() == entry.digest else { throw .section(name) }
        return data
    }

    private static func assignments(
        _ metadata: Metadata, idBytes: Int, of bytes: [UInt8], _ index: JSONValue
    ) throws(RingFileError) -> AssignmentTable {
        let name = Section.assignments
        let entry = try entry(name, index, fileCount: bytes.count)
        var reader = GzipReader(bytes, offset: entry.start)
        let prefix = try reader.read(8)
        let fullRows = max(0, metadata.columns - 1) * metadata.partitionCount
        guard let length = prefix.length, length % idBytes == 0 else { throw .section(name) }
        // The length, not the fraction in the metadata, says how long the last row is: a fraction may be rounded.
        let lastRow = length / idBytes - fullRows
        guard metadata.columns == 0 ? lastRow == 0 : (0...metadata.partitionCount).contains(lastRow) else {
            throw .section(name)
        }
        reader.digest = SHA256()
        reader.digest?.update(prefix)
        let table = try readTable(metadata, from: &reader, idBytes: idBytes, littleEndian: false, lastRowCount: lastRow)
        guard reader.digest?.finish() == entry.digest else { throw .section(name) }
        return table
    }
}

extension [UInt8] {
    /// Eight bytes as a length; `nil` when no memory could hold that much.
    fileprivate var length: Int? {
        guard count == 8, self[0] & 0x80 == 0 else { return nil }
        return bigEndianInteger
    }
}
