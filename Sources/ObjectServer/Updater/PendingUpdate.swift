package import NIOCore
import Ring
package import StorageWire

/// A row that its container replica could not take, kept in the log until it can.
package struct PendingUpdate {
    package static let version: UInt8 = 1
    package let putRow: PutRow

    package init(_ putRow: PutRow) { self.putRow = putRow }

    package func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(putRow.table.device)
        buffer.writeInteger(putRow.table.kind.rawValue)
        buffer.writeInteger(putRow.table.hash.high)
        buffer.writeInteger(putRow.table.hash.low)
        ListingEntry.row(putRow.row).encode(into: &buffer)
        return buffer
    }

    package init(decoding buffer: ByteBuffer) throws(WireError) {
        var reader = WireReader(buffer)
        guard try reader.integer(UInt8.self) == Self.version else { throw .malformed("pending update version") }
        let device = try reader.integer(UInt16.self)
        guard let kind = TableKind(rawValue: try reader.integer()) else { throw .malformed("table kind") }
        let hash = PathHash(high: try reader.integer(), low: try reader.integer())
        guard case .row(let row) = try ListingEntry(from: &reader) else { throw .malformed("not a row") }
        try reader.expectEnd()
        putRow = PutRow(table: TableAddress(device: device, kind: kind, hash: hash), row: row)
    }
}
