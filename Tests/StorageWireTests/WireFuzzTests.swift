import NIOCore
import Testing

@testable import StorageWire

/// Any bytes give a value or an error: never a trap, never much memory. The seed is in the name of a failed case.
struct WireFuzzTests {
    /// What the decoder may reserve: one frame, rounded up to a power of two by the allocator.
    private static let mostReserved = 2 << 20

    private func feed(_ bytes: ByteBuffer, _ random: inout RandomMessages) {
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        var bytes = bytes
        do {
            while bytes.readableBytes > 0, let piece = bytes.readSlice(length: 1 + random.below(bytes.readableBytes)) {
                decoder.append(piece)
                while let frame = try decoder.next() {
                    decode(frame.payload)
                }
                #expect(decoder.reservedBytes <= Self.mostReserved)
            }
        } catch {
            #expect(decoder.reservedBytes <= Self.mostReserved)
        }
    }

    /// Both ways: whatever a message decodes to has to be encodable and the same again.
    private func decode(_ payload: ByteBuffer) {
        if let request = try? StorageRequest(decoding: payload) {
            if case .setWorker = request {} else { #expect(request.encoded() == payload) }
        }
        if let reply = try? StorageReply(decoding: payload) {
            // A text that was not UTF-8 is mended when it is read.
            if !reply.holdsText { #expect(reply.encoded() == payload) }
            if case .listing(let listing) = reply { readEntries(listing) }
        }
        _ = try? ObjectHead(decoding: payload)
        _ = try? TableHead(decoding: payload)
        _ = try? ObjectRowValue(decoding: payload)
    }

    private func readEntries(_ listing: ListingReply) {
        var reader = WireReader(listing.entries)
        for _ in 0..<listing.count {
            guard (try? ListingEntry(from: &reader)) != nil else { return }
        }
    }

    @Test(arguments: UInt64(0)..<200)
    func randomBytes(seed: UInt64) {
        var random = RandomMessages(seed: seed)
        feed(random.buffer(4096), &random)
        for version in [[], [1]] as [[UInt8]] {
            for kind in UInt8(0)..<48 { decode(ByteBuffer(bytes: version + [kind] + random.bytes(300))) }
        }
    }

    /// Damaged messages in sound frames: the checksums are no help against a peer that is wrong on purpose.
    @Test(arguments: UInt64(0)..<100)
    func damagedMessages(seed: UInt64) {
        var random = RandomMessages(seed: seed)
        for kind in 0..<RandomMessages.replyKinds {
            for message in [random.request(kind).encoded(), random.reply(kind).encoded()] {
                for _ in 0..<8 { decode(damaged(message, &random)) }
            }
        }
    }

    @Test(arguments: UInt64(0)..<100)
    func damagedStreams(seed: UInt64) {
        var random = RandomMessages(seed: seed)
        var output = FrameOutput()
        for _ in 0..<4 {
            let request = random.request(random.below(RandomMessages.requestKinds))
            _ = output.append(FrameHeader(kind: .request, call: random.integer())) { request.encode(into: &$0) }
        }
        var stream = ByteBuffer()
        while let bytes = output.next() { stream.writeImmutableBuffer(bytes) }
        feed(stream, &random)
        for _ in 0..<4 { feed(damaged(stream, &random), &random) }
    }

    @Test(arguments: UInt64(0)..<200)
    func handshakes(seed: UInt64) {
        var random = RandomMessages(seed: seed)
        for role in [Handshake.Role.client, .server] {
            var handshake = Handshake(role: role, credentials: Fixture.credentials(), versions: WireVersion.spoken)
            _ = handshake.begin()
            for _ in 0..<4 {
                let kind = Frame.Kind.allCases[random.below(Frame.Kind.allCases.count)]
                let frame = Frame(header: FrameHeader(kind: kind), payload: random.buffer(80))
                guard let step = try? handshake.receive(frame) else { break }
                if case .finish = step { Issue.record("a random peer was let in") }
            }
        }
    }

    private func damaged(_ bytes: ByteBuffer, _ random: inout RandomMessages) -> ByteBuffer {
        var bytes = bytes
        switch random.below(4) {
        case 0: return bytes.readSlice(length: random.below(bytes.readableBytes + 1)) ?? bytes
        case 1: bytes.writeBytes(random.bytes(20))
        case 2:
            for _ in 0...random.below(4) {
                // Lengths and counts are near the beginning.
                let index = random.below(random.flag() ? min(64, bytes.readableBytes) : bytes.readableBytes)
                bytes.setInteger(random.integer() as UInt8, at: index)
            }
        default:
            let index = random.below(bytes.readableBytes)
            let byte = bytes.getInteger(at: index, as: UInt8.self) ?? 0
            bytes.setInteger(byte ^ 1 << UInt8(random.below(8)), at: index)
        }
        return bytes
    }
}

extension StorageReply {
    fileprivate var holdsText: Bool {
        switch self {
        case .failed, .status, .workers, .program: true
        default: false
        }
    }
}
