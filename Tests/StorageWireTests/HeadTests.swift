import NIOCore
import StorageWire
import Testing

struct HeadTests {
    @Test func anObjectHeadIsLaidOutAsDocumented() throws {
        let head = ObjectHead(
            account: [1], container: [2, 3], object: [4], size: 5, etag: [6], contentType: [7], deleteAt: 8,
            headers: [ObjectHead.Header(name: [9], value: [])])
        let bytes: [UInt8] = [
            1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 6, 0, 1, 1, 0, 2, 2, 3, 0, 1, 4, 0, 1, 7, 0, 1, 0,
            1,
            9, 0, 0,
        ]
        #expect(head.encoded() == ByteBuffer(bytes: bytes))
        #expect(try ObjectHead(decoding: ByteBuffer(bytes: bytes)) == head)
        #expect(throws: WireError.self) { try ObjectHead(decoding: ByteBuffer(bytes: bytes + [0])) }
        #expect(throws: WireError.self) { try ObjectHead(decoding: ByteBuffer(bytes: bytes.dropLast())) }
        #expect(throws: WireError.self) { try ObjectHead(decoding: ByteBuffer(bytes: [2] + bytes.dropFirst())) }
    }

    @Test func aTableHeadIsLaidOutAsDocumented() throws {
        let head = TableHead(
            account: [1], container: [], policy: 2, created: Timestamp(rawValue: 3), put: Timestamp(rawValue: 4),
            deleted: Timestamp(rawValue: 5),
            metadata: [TableHead.Item(name: [6], value: [7], timestamp: Timestamp(rawValue: 8))])
        let bytes: [UInt8] = [
            1, 0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 1, 6,
            0,
            1, 7, 0, 0, 0, 0, 0, 0, 0, 8,
        ]
        #expect(head.encoded() == ByteBuffer(bytes: bytes))
        #expect(try TableHead(decoding: ByteBuffer(bytes: bytes)) == head)
        #expect(throws: WireError.self) { try TableHead(decoding: ByteBuffer(bytes: bytes.dropLast())) }
    }

    private func head(_ items: [TableHead.Item]) -> TableHead {
        TableHead(account: [1], container: [2], policy: 0, created: .never, put: .never, metadata: items)
    }

    private func item(_ name: UInt8, _ value: [UInt8], _ time: UInt64) -> TableHead.Item {
        TableHead.Item(name: [name], value: value, timestamp: Timestamp(rawValue: time))
    }

    @Test func mergingTakesTheNewerInWhateverOrder() {
        let one = head([item(1, [1], 10), item(2, [], 20), item(3, [3], 30)])
        let other = head([item(1, [], 11), item(2, [2], 19), item(3, [4], 30)])
        var forward = one
        forward.merge(other)
        var backward = other
        backward.merge(one)
        #expect(forward == backward)
        #expect(forward.metadata == [item(1, [], 11), item(2, [], 20), item(3, [4], 30)])
        forward.merge(one)
        #expect(forward == backward)
    }

    @Test func namesThatCameAndWentDoNotFillTheHead() throws {
        var table = head([item(200, [1], 1)])
        for index in 0..<5000 {
            let name = [UInt8(index >> 8), UInt8(index & 0xff)]
            table.merge(TableHead.Item(name: name, value: [], timestamp: Timestamp(rawValue: UInt64(index) + 2)))
        }
        #expect(table.metadata.count == TableHead.maximumItems)
        #expect(table.metadata.contains(item(200, [1], 1)))
        #expect(try TableHead(decoding: table.encoded()) == table)
    }
}
