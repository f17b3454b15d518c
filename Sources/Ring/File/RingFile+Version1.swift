extension RingFile {
    /// Version 1: magic, version, length and text of the metadata, rows of 16-bit ids.
    static func encodeVersion1(_ ring: Ring) -> [UInt8] {
        // Big endian on every machine, so that equal rings are equal files; readers swap as "byteorder" says.
        var members = [
            JSONMember("byteorder", .string("big")),
            JSONMember("devs", .array(ring.devices.map { $0?.json ?? .null })),
        ]
        if let next = ring.nextPartPower { members.append(JSONMember("next_part_power", .integer(next))) }
        members += [
            JSONMember("part_shift", .integer(32 - ring.partPower)),
            JSONMember("replica_count", .integer(ring.table.columns)),
            JSONMember("version", .integer(ring.version)),
        ]
        let text = JSONValue.object(members).encoded
        var head = magic
        head.append(bigEndian: UInt16(1))
        head.append(bigEndian: UInt32(text.count))
        var writer = GzipWriter()
        writer.write(head)
        writer.write(text)
        for column in 0..<ring.table.columns { writer.write(row(column, of: ring.table, idBytes: 2)) }
        writer.finish()
        return writer.output
    }

    static func decodeVersion1(_ reader: inout GzipReader) throws(RingFileError) -> Ring {
        let length = try reader.read(4).bigEndianInteger
        guard length <= Limit.metadataBytes else { throw .tooLarge("the metadata", limit: Limit.metadataBytes) }
        let json = try parse(try reader.read(length))
        let metadata = try metadata(json, devices: json["devs"])
        guard metadata.replicas == metadata.replicas.rounded() else { throw .member("replica_count") }
        let littleEndian: Bool
        switch json["byteorder"] {
        // A file without it is of the byte order of the machine that wrote it: all that matter are little endian.
        case nil, .string("little"): littleEndian = true
        case .string("big"): littleEndian = false
        default: throw .member("byteorder")
        }
        let table = try readTable(
            metadata, from: &reader, idBytes: 2, littleEndian: littleEndian, lastRowCount: nil)
        try reader.expectEnd()
        return Ring(
            partPower: metadata.partPower, nextPartPower: metadata.nextPartPower, version: metadata.version,
            devices: metadata.devices, table: table)
    }
}
