import NIOCore

extension MapBallot {
    private static let maximumNode = 64

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(round)
        buffer.writeShortBytes(node)
    }

    init(from reader: inout WireReader) throws(WireError) {
        round = try reader.integer()
        node = try reader.shortBytes()
        guard node.count <= Self.maximumNode else { throw .malformed("node id of \(node.count) bytes") }
    }
}

extension PrepareMap {
    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(version)
        ballot.encode(into: &buffer)
    }

    init(from reader: inout WireReader) throws(WireError) {
        version = try reader.integer()
        ballot = try MapBallot(from: &reader)
    }
}

extension AcceptMap {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.writeInteger(version)
        ballot.encode(into: &buffer)
        return value
    }

    init(from reader: inout WireReader) throws(WireError) {
        version = try reader.integer()
        ballot = try MapBallot(from: &reader)
        value = try reader.mapValue()
    }
}

extension DecidedMap {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.writeInteger(version)
        return value
    }

    init(from reader: inout WireReader) throws(WireError) {
        version = try reader.integer()
        value = try reader.mapValue()
    }
}

extension MapPromise {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.write(accepted != nil)
        accepted?.ballot.encode(into: &buffer)
        return accepted?.value
    }

    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.flag() else {
            accepted = nil
            return
        }
        accepted = AcceptedMap(ballot: try MapBallot(from: &reader), value: try reader.mapValue())
    }
}

extension MapStanding {
    private static let maximumNode = 64

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeShortBytes(node)
        buffer.writeMultipleIntegers(version, clock)
    }

    init(from reader: inout WireReader) throws(WireError) {
        node = try reader.shortBytes()
        guard node.count <= Self.maximumNode else { throw .malformed("node id of \(node.count) bytes") }
        version = try reader.integer()
        clock = try reader.integer()
    }
}

extension WireReader {
    fileprivate mutating func mapValue() throws(WireError) -> ByteBuffer {
        guard remaining <= DecidedMap.maximumValue else { throw .malformed("map of \(remaining) bytes") }
        return rest()
    }
}
