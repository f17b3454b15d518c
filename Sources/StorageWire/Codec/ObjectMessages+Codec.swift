import NIOCore

// Each message writes its fields into a buffer and hands back the body that follows them, if it has one, so that a large body is never
// copied; and is read from the payload of a frame, of which its body is a slice.

extension PutObject {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer {
        buffer.write(address)
        buffer.write(timestamp)
        buffer.writeInteger(condition.rawValue)
        buffer.write(row)
        buffer.writeSlice(head)
        return body
    }

    init(from reader: inout WireReader) throws(WireError) {
        address = try reader.objectAddress()
        timestamp = try reader.timestamp()
        condition = try reader.putCondition()
        row = try reader.rowTarget()
        head = try reader.slice()
        body = reader.rest()
    }
}

extension OpenUpload {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(address)
        buffer.writeInteger(expectedLength)
    }

    init(from reader: inout WireReader) throws(WireError) {
        address = try reader.objectAddress()
        expectedLength = try reader.number(atLeast: -1)
    }
}

extension UploadChunk {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer {
        return bytes
    }

    init(from reader: inout WireReader) throws(WireError) {
        bytes = reader.rest()
        guard bytes.readableBytes <= Self.maximumChunk else {
            throw .malformed("chunk of \(bytes.readableBytes) bytes")
        }
    }
}

extension CommitUpload {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(timestamp)
        buffer.writeInteger(condition.rawValue)
        buffer.write(row)
        buffer.writeSlice(head)
    }

    init(from reader: inout WireReader) throws(WireError) {
        timestamp = try reader.timestamp()
        condition = try reader.putCondition()
        row = try reader.rowTarget()
        head = try reader.slice()
    }
}

extension ReadObject {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(address)
        buffer.writeInteger(wanted.rawValue)
        buffer.write(isOwn)
    }

    init(from reader: inout WireReader) throws(WireError) {
        address = try reader.objectAddress()
        let number = try reader.integer(UInt8.self)
        guard let wanted = Wanted(rawValue: number) else { throw .malformed("wanted part \(number)") }
        self.wanted = wanted
        isOwn = try reader.flag()
    }
}

extension ReadBody {
    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(offset)
        buffer.writeInteger(UInt32(clamping: length))
    }

    init(from reader: inout WireReader) throws(WireError) {
        offset = try reader.number()
        length = try reader.number(atMost: Self.maximumLength)
    }
}

extension DeleteObject {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(address)
        buffer.write(timestamp)
        buffer.write(row)
        buffer.writeShortBytes(name)
    }

    init(from reader: inout WireReader) throws(WireError) {
        address = try reader.objectAddress()
        timestamp = try reader.timestamp()
        row = try reader.rowTarget()
        name = try reader.shortBytes()
    }
}

extension UpdateObject {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(address)
        buffer.write(timestamp)
        buffer.write(base)
        buffer.write(row)
        buffer.writeSlice(head)
    }

    init(from reader: inout WireReader) throws(WireError) {
        address = try reader.objectAddress()
        timestamp = try reader.timestamp()
        base = try reader.timestamp()
        row = try reader.rowTarget()
        head = try reader.slice()
    }
}

extension ObjectReply {
    func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.write(timestamp)
        buffer.write(dataTimestamp)
        buffer.writeInteger(bodyLength)
        buffer.writeSlice(head)
        buffer.write(body != nil)
        return body
    }

    init(from reader: inout WireReader) throws(WireError) {
        timestamp = try reader.timestamp()
        dataTimestamp = try reader.timestamp()
        bodyLength = try reader.number()
        head = try reader.slice()
        body = try reader.flag() ? reader.rest() : nil
    }
}
