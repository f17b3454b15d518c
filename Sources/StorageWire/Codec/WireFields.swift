import NIOCore
import Ring

// Fields that several messages share. Documentation/formats/storage-wire.md has the layout of every message.

extension ByteBuffer {
    mutating func write(_ hash: PathHash) {
        writeMultipleIntegers(hash.high, hash.low)
    }

    mutating func write(_ timestamp: Timestamp) {
        writeInteger(timestamp.rawValue)
    }

    mutating func write(_ flag: Bool) {
        writeInteger(UInt8(flag ? 1 : 0))
    }

    mutating func write(_ address: ObjectAddress) {
        writeMultipleIntegers(address.device, address.policy)
        write(address.hash)
    }

    mutating func write(_ address: TableAddress) {
        writeMultipleIntegers(address.device, address.kind.rawValue)
        write(address.hash)
    }

    mutating func write(_ row: RowTarget?) {
        write(row != nil)
        guard let row else { return }
        writeInteger(row.device)
        write(row.container)
    }

    /// UTF-8, cut to `limit` bytes: texts for operators need not be whole.
    mutating func write(_ text: String, limit: Int) {
        writeShortBytes(text.utf8.prefix(limit))
    }
}

extension WireReader {
    mutating func hash() throws(WireError) -> PathHash {
        PathHash(high: try integer(), low: try integer())
    }

    mutating func timestamp() throws(WireError) -> Timestamp {
        Timestamp(rawValue: try integer())
    }

    mutating func objectAddress() throws(WireError) -> ObjectAddress {
        ObjectAddress(device: try integer(), policy: try integer(), hash: try hash())
    }

    mutating func tableAddress() throws(WireError) -> TableAddress {
        let device = try integer(UInt16.self)
        let number = try integer(UInt8.self)
        guard let kind = TableKind(rawValue: number) else { throw .malformed("table kind \(number)") }
        return TableAddress(device: device, kind: kind, hash: try hash())
    }

    mutating func rowTarget() throws(WireError) -> RowTarget? {
        guard try flag() else { return nil }
        return RowTarget(device: try integer(), container: try hash())
    }

    mutating func putCondition() throws(WireError) -> PutCondition {
        let number = try integer(UInt8.self)
        guard let condition = PutCondition(rawValue: number) else { throw .malformed("put condition \(number)") }
        return condition
    }

    /// A number that cannot be below `minimum`, such as a length.
    mutating func number(atLeast minimum: Int64 = 0) throws(WireError) -> Int64 {
        let value = try integer(Int64.self)
        guard value >= minimum else { throw .malformed("\(value) is below \(minimum)") }
        return value
    }

    /// A 32-bit count or length of at most `limit`.
    mutating func number(atMost limit: Int) throws(WireError) -> Int {
        let value = Int(try integer(UInt32.self))
        guard value <= limit else { throw .malformed("\(value) is over the limit of \(limit)") }
        return value
    }

    /// The number of elements that follow, each of at least `size` bytes, so that nothing is allocated for what cannot be there.
    mutating func count(limit: Int, size: Int) throws(WireError) -> Int {
        let count = Int(try integer(UInt16.self))
        guard count <= limit else { throw .malformed("\(count) elements where \(limit) are allowed") }
        guard count * size <= remaining else { throw .malformed("message ends within a list") }
        return count
    }

    mutating func text(limit: Int) throws(WireError) -> String {
        let bytes = try shortBytes()
        guard bytes.count <= limit else { throw .malformed("text of \(bytes.count) bytes") }
        return String(decoding: bytes, as: UTF8.self)
    }
}
