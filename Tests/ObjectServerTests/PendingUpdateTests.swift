import NIOCore
import Ring
import StorageWire
import Testing

@testable import ObjectServer

struct PendingUpdateTests {
    private let update = PutRow(
        table: TableAddress(device: 3, kind: .container, hash: PathHash(high: 1, low: 2)),
        row: TableRow(
            name: [1, 2], timestamp: Timestamp(ticks: 9), deleted: false, policy: 1, bytes: 5, count: 1,
            value: ByteBuffer(bytes: [7])))

    @Test func itComesBackAsItWas() throws {
        let decoded = try PendingUpdate(decoding: PendingUpdate(update).encoded()).putRow
        #expect(decoded.table == update.table)
        #expect(decoded.row == update.row)
    }

    @Test func everyTruncationIsAnError() {
        let encoded = PendingUpdate(update).encoded()
        for length in 0..<encoded.readableBytes {
            #expect(throws: WireError.self) {
                try PendingUpdate(decoding: encoded.getSlice(at: encoded.readerIndex, length: length)!)
            }
        }
    }

    @Test func aHeadThatMakesNoSenseGivesNoRow() {
        let target = RowTarget(device: 1, container: PathHash(high: 1, low: 2))
        let source = ContainerRow.Source.head(ByteBuffer(bytes: [9]), policy: 0)
        #expect(ContainerRow.make(source, for: target, timestamp: Timestamp(ticks: 1)) == nil)
        #expect(ContainerRow.make(source, for: nil, timestamp: Timestamp(ticks: 1)) == nil)
    }
}
