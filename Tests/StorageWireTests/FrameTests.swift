import NIOCore
import Testing

@testable import StorageWire

struct FrameTests {
    private func frame(_ payload: [UInt8], kind: Frame.Kind = .request, call: UInt32 = 7) -> ByteBuffer {
        var output = FrameOutput()
        _ = output.append(FrameHeader(kind: kind, call: call, remaining: 1000)) {
            $0.writeBytes(payload)
            return nil
        }
        return output.next() ?? ByteBuffer()
    }

    @Test func theHeaderIsLaidOutAsDocumented() {
        let bytes = frame([1, 2, 3])
        #expect(bytes.readableBytes == 27)
        #expect(
            bytes.getBytes(at: 0, length: 16)
                == [0, 0, 0, 3, 5, 0, 1, 0, 0, 0, 0, 7, 0, 0, 3, 232])
        // CRC-32C of 1, 2, 3, and that of the first twenty bytes.
        #expect(bytes.getInteger(at: 16) == UInt32(0xf130_f21e))
        #expect(bytes.getInteger(at: 20) == CRC32C.of(bytes.getSlice(at: 0, length: 20)!))
    }

    /// The check value of RFC 3720 B.4 and of every catalogue of checksums.
    @Test func theChecksumIsCastagnolis() {
        #expect(CRC32C.of(ByteBuffer(string: "123456789")) == 0xe306_9283)
        #expect(CRC32C.of(ByteBuffer(repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(CRC32C.of(ByteBuffer()) == 0)
    }

    @Test(arguments: [1, 2, 3, 23, 24, 25, 100, 1000, 1_000_000])
    func framesAreFoundHoweverTheBytesArrive(_ step: Int) throws {
        let payloads = [0, 1, 5, 3000, 70_000].map { [UInt8](repeating: UInt8($0 & 0xff), count: $0) }
        var stream = ByteBuffer()
        for payload in payloads { stream.writeImmutableBuffer(frame(payload)) }
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        var found: [ByteBuffer] = []
        while let piece = stream.readSlice(length: min(step, stream.readableBytes)), piece.readableBytes > 0 {
            decoder.append(piece)
            while let frame = try decoder.next() { found.append(frame.payload) }
        }
        #expect(found == payloads.map { ByteBuffer(bytes: $0) })
    }

    @Test func aFrameWithinOnePieceIsNotCopied() throws {
        let bytes = frame([UInt8](repeating: 1, count: 5000))
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        decoder.append(bytes)
        let found = try decoder.next()
        let payload = try #require(found).payload
        let original = bytes.withUnsafeReadableBytes { $0.baseAddress! + FrameHeader.size }
        #expect(payload.withUnsafeReadableBytes { $0.baseAddress! } == original)
        #expect(decoder.reservedBytes == 0)
    }

    @Test func everyFlippedBitIsFound() {
        let good = frame([1, 2, 3, 4, 5, 6, 7, 8])
        for bit in 0..<good.readableBytes * 8 {
            var bytes = good
            let byte = bytes.getInteger(at: bit / 8, as: UInt8.self) ?? 0
            bytes.setInteger(byte ^ UInt8(1 << (bit % 8)), at: bit / 8)
            var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
            decoder.append(bytes)
            #expect(throws: WireError.self, "bit \(bit)") { try decoder.next() }
        }
    }

    @Test func aFrameOverTheLimitIsRefusedBeforeMemoryIsTaken() {
        var bytes = ByteBuffer(repeating: 0, count: FrameHeader.size)
        FrameHeader(kind: .request, payloadLength: Int(UInt32.max)).set(in: &bytes, at: 0)
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        decoder.append(bytes)
        #expect(throws: WireError.malformed("frame of 4294967295 bytes")) { try decoder.next() }
        #expect(decoder.reservedBytes < 1024)
    }

    @Test func smallFramesShareABufferAndLargeBodiesAreNotCopied() throws {
        var output = FrameOutput()
        let body = ByteBuffer(repeating: 9, count: 1 << 20)
        for _ in 0..<3 { _ = output.append(FrameHeader(kind: .ping), encode: { _ in nil }) }
        _ = output.append(FrameHeader(kind: .reply), encode: { _ in body })
        _ = output.append(FrameHeader(kind: .pong), encode: { _ in nil })
        #expect(output.byteCount == 5 * FrameHeader.size + body.readableBytes)
        let parts = [output.next(), output.next(), output.next(), output.next()]
        #expect(
            parts.map { $0?.readableBytes }
                == [4 * FrameHeader.size, body.readableBytes, FrameHeader.size, nil])
        let second = try #require(parts[1])
        #expect(
            second.withUnsafeReadableBytes { $0.baseAddress! } == body.withUnsafeReadableBytes { $0.baseAddress! })
        #expect(output.byteCount == 0)
    }

    @Test func aPayloadOverTheLimitIsNotSent() {
        var output = FrameOutput()
        let body = ByteBuffer(repeating: 9, count: Frame.maximumPayload + 1)
        let isAppended = output.append(FrameHeader(kind: .request), encode: { _ in body })
        #expect(!isAppended)
        let bytes = output.next()
        #expect(bytes == nil)
    }

    @Test func aLongReplyTakesSeveralFrames() throws {
        var output = FrameOutput()
        let reply = StorageReply.body(ByteBuffer(repeating: 9, count: 3 * Frame.maximumPayload))
        let isTooLong = !output.append(reply, FrameHeader(kind: .reply), maximumReply: Frame.maximumPayload)
        #expect(isTooLong)
        let isAppended = output.append(reply, FrameHeader(kind: .reply, flags: .last), maximumReply: 32 << 20)
        #expect(isAppended)
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        var flags: [Frame.Flags] = []
        var whole = ByteBuffer()
        while let bytes = output.next() {
            decoder.append(bytes)
            while let frame = try decoder.next() {
                flags.append(frame.header.flags)
                whole.writeImmutableBuffer(frame.payload)
            }
        }
        #expect(flags == [[.last, .more], [.last, .more], [.last, .more], .last])
        #expect(whole == reply.encoded())
    }
}
