import NIOCore

extension TableRow {
    func encode(into buffer: inout ByteBuffer) {
        buffer.writeShortBytes(name)
        buffer.write(timestamp)
        buffer.write(deleted)
        buffer.writeMultipleIntegers(policy, bytes, count)
        buffer.writeSlice(value)
    }

    init(from reader: inout WireReader) throws(WireError) {
        name = try reader.shortBytes()
        timestamp = try reader.timestamp()
        deleted = try reader.flag()
        policy = try reader.integer()
        bytes = try reader.integer()
        count = try reader.integer()
        value = try reader.slice()
    }
}

extension PutRow {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(table)
        row.encode(into: &buffer)
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try reader.tableAddress()
        row = try TableRow(from: &reader)
    }
}

extension UpdateTable {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(table)
        buffer.write(timestamp)
        buffer.write(creates)
        buffer.writeShortBytes(account)
        buffer.writeShortBytes(container)
        buffer.writeInteger(policy)
        buffer.writeInteger(UInt16(clamping: metadata.count))
        for item in metadata {
            buffer.writeShortBytes(item.name)
            buffer.writeShortBytes(item.value)
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try reader.tableAddress()
        timestamp = try reader.timestamp()
        creates = try reader.flag()
        account = try reader.shortBytes()
        container = try reader.shortBytes()
        policy = try reader.integer()
        let count = try reader.count(limit: TableHead.maximumItems, size: 4)
        metadata = []
        metadata.reserveCapacity(count)
        for _ in 0..<count {
            metadata.append(ObjectHead.Header(name: try reader.shortBytes(), value: try reader.shortBytes()))
        }
    }
}

extension DeleteTable {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(table)
        buffer.write(timestamp)
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try reader.tableAddress()
        timestamp = try reader.timestamp()
    }
}

extension DeleteAccount {
    func encode(into buffer: inout ByteBuffer) {
        buffer.write(table)
        buffer.write(timestamp)
        buffer.writeShortBytes(account)
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try reader.tableAddress()
        timestamp = try reader.timestamp()
        account = try reader.shortBytes()
    }
}

extension ListTable {
    private struct Options: OptionSet {
        let rawValue: UInt8
        static let reverse = Options(rawValue: 1)
        static let includesDeleted = Options(rawValue: 2)
        static let omitsSubdirectories = Options(rawValue: 4)
        static let all: Options = [.reverse, .includesDeleted, .omitsSubdirectories]
    }

    func encode(into buffer: inout ByteBuffer) {
        var options: Options = []
        if reverse { options.insert(.reverse) }
        if includesDeleted { options.insert(.includesDeleted) }
        if omitsSubdirectories { options.insert(.omitsSubdirectories) }
        buffer.write(table)
        buffer.writeInteger(UInt32(clamping: limit))
        buffer.writeInteger(options.rawValue)
        buffer.writeShortBytes(marker)
        buffer.writeShortBytes(endMarker)
        buffer.writeShortBytes(prefix)
        buffer.writeShortBytes(delimiter)
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try reader.tableAddress()
        limit = try reader.number(atMost: Self.maximumLimit)
        let options = Options(rawValue: try reader.integer())
        guard Options.all.isSuperset(of: options) else { throw .malformed("listing options \(options.rawValue)") }
        reverse = options.contains(.reverse)
        includesDeleted = options.contains(.includesDeleted)
        omitsSubdirectories = options.contains(.omitsSubdirectories)
        marker = try reader.shortBytes()
        endMarker = try reader.shortBytes()
        prefix = try reader.shortBytes()
        delimiter = try reader.shortBytes()
    }
}

extension TableReply {
    /// One sum for each of the policies that a byte can name.
    private static let maximumSums = 256
    private static let sumSize = 25

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(head != nil)
        if let head { buffer.writeSlice(head) }
        buffer.writeInteger(digest)
        buffer.write(lastChange)
        buffer.writeInteger(UInt16(clamping: sums.count))
        for sum in sums {
            buffer.writeMultipleIntegers(sum.policy, sum.rows, sum.bytes, sum.count)
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        head = try reader.flag() ? try reader.slice() : nil
        digest = try reader.integer()
        lastChange = try reader.timestamp()
        let count = try reader.count(limit: Self.maximumSums, size: Self.sumSize)
        sums = []
        sums.reserveCapacity(count)
        for _ in 0..<count {
            sums.append(
                TableSum(
                    policy: try reader.integer(), rows: try reader.integer(), bytes: try reader.integer(),
                    count: try reader.integer()))
        }
    }
}

extension ListingReply {
    /// Kind and length of the name: what the smallest entry takes.
    private static let smallestEntry = 3

    func encode(into buffer: inout ByteBuffer) -> ByteBuffer {
        table.encode(into: &buffer)
        buffer.writeInteger(UInt32(clamping: count))
        return entries
    }

    init(from reader: inout WireReader) throws(WireError) {
        table = try TableReply(from: &reader)
        count = try reader.number(atMost: ListTable.maximumLimit)
        guard count * Self.smallestEntry <= reader.remaining else { throw .malformed("listing without its entries") }
        entries = reader.rest()
    }
}
