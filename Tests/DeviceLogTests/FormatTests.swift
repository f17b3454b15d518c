import NIOCore
import Ring
import Testing

@testable import DeviceLog

/// The bytes on disk, as `Documentation/formats/device-log.md` has them: what one version wrote the next must read.
struct FormatTests {
    private func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func record() {
        let buffer = BatchBuffer()
        buffer.begin(segment: 2, offset: 256, batch: 9, lead: UnsafeRawBufferPointer(start: nil, count: 0))
        var header = RecordHeader(kind: .put)
        header.space = 1
        header.hash = PathHash(high: 0x0102_0304_0506_0708, low: 0x1112_1314_1516_1718)
        header.timestamp = 5
        header.dataTimestamp = 4
        header.bodyTotal = 3
        _ = buffer.append(header, metadata: bytes("meta"), body: bytes("abc"))
        #expect(hex(buffer.bytes) == Self.goldenRecord)
    }

    @Test func segmentHeaderAndSeal() {
        var block = [UInt8](repeating: 0, count: 64)
        block.withUnsafeMutableBytes { SegmentHeader(segment: 2, firstBatch: 9).encode(to: $0.baseAddress!) }
        #expect(hex(block) == Self.goldenHeader)
        block.withUnsafeMutableBytes { SegmentSeal(segment: 2, end: 368, lastBatch: 9).encode(to: $0.baseAddress!) }
        #expect(hex(block) == Self.goldenSeal)
    }

    @Test func objectEntry() {
        let entry = ObjectEntry(
            kind: .live, timestamp: 5, dataTimestamp: 4, record: RecordLocation(segment: 2, offset: 256, length: 112),
            data: .none, blob: 0)
        #expect(hex(Self.encoded(entry)) == Self.goldenEntry)
        #expect(Self.encoded(entry).withUnsafeBytes { IndexCoding.object($0) } == entry)
        var old = [UInt8](repeating: 0, count: IndexCoding.objectSize)
        for (place, byte) in Self.goldenEntryOfFormat1.enumerated() { old[place] = byte }
        #expect(old.withUnsafeBytes { IndexCoding.object($0) } == entry)
    }

    /// All that may be there or not; of any other length it is damage.
    @Test func shortObjectEntries() {
        let places = [RecordLocation.none, RecordLocation(segment: 7, offset: 0, length: 0)]
        for kind in [ObjectEntry.Kind.live, .tombstone, .quarantined, .evicted] {
            for dataTimestamp in [0, 4, 5] as [UInt64] {
                for (data, blob) in [(places[0], 0), (places[1], 0), (places[0], 9), (places[1], 9)] {
                    let entry = ObjectEntry(
                        kind: kind, timestamp: 5, dataTimestamp: dataTimestamp,
                        record: RecordLocation(segment: 2, offset: 256, length: 112), data: data, blob: UInt64(blob))
                    let value = Self.encoded(entry)
                    #expect(value.withUnsafeBytes { IndexCoding.object($0) } == entry)
                    let shorter = value.dropLast()
                    #expect(Array(shorter).withUnsafeBytes { IndexCoding.object($0) } == nil)
                    #expect((value + [0]).withUnsafeBytes { IndexCoding.object($0) } == nil)
                }
            }
        }
    }

    private static func encoded(_ entry: ObjectEntry) -> [UInt8] {
        var value = [UInt8](repeating: 0, count: IndexCoding.objectSize)
        let length = value.withUnsafeMutableBytes { IndexCoding.encode(entry, to: $0.baseAddress!) }
        return Array(value[..<length])
    }

    @Test func identityFile() {
        let text = String(decoding: DeviceDirectory.encode(testIdentity), as: UTF8.self)
        #expect(text == "{\"format\": 1, \"cluster\": \"test\", \"device\": 1}\n")
    }

    @Test func checksumIsCRC32C() {
        // RFC 3720 B.4: 32 bytes of zeros.
        #expect([UInt8](repeating: 0, count: 32).withUnsafeBytes { CRC32C.checksum($0) } == 0x8A91_36AA)
    }

    /// Every bit of a header matters.
    @Test func aHeaderWithAFlippedBitIsNone() {
        var header = RecordHeader(kind: .tombstone)
        header.length = 104
        var block = [UInt8](repeating: 0, count: 104)
        block.withUnsafeMutableBytes { header.encode(to: $0.baseAddress!) }
        for bit in 0..<104 * 8 {
            var damaged = block
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(damaged.withUnsafeBytes { RecordHeader($0.baseAddress!, segment: 0, offset: 0) } == nil)
        }
    }

    private static let goldenRecord =
        "5246444f0101010002000000000100007000000000000000090000000000000008070605040302011817161514131211"
        + "050000000000000004000000000000000400000003000000030000000000000000000000000000009510071bb73f4b36"
        + "00000000eeec4d416d65746161626300"
    private static let goldenHeader =
        "524644530100000002000000000000000900000000000000000000000000000000000000000000000000000000000000"
        + "000000000000000000000000dee42ff1"
    private static let goldenSeal =
        "524644450100000002000000700100000900000000000000000000000000000000000000000000000000000000000000"
        + "00000000000000000000000073908679"
    private static let goldenEntry = "9105000000000000000200000000010000700000000400000000000000"
    private static let goldenEntryOfFormat1: [UInt8] = [
        1, 5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0x70,
    ]
}
