import NIOCore

/// The unit in which bytes travel: a header of 24 bytes and a payload. Documentation/formats/storage-wire.md has the layout.
struct Frame: Equatable {
    enum Kind: UInt8, CaseIterable {
        case hello = 1
        case challenge = 2
        case proof = 3
        case welcome = 4
        /// The first message of a call.
        case request = 5
        /// A further message of a call.
        case followUp = 6
        case reply = 7
        /// The caller gives the call up; nothing more is sent for it.
        case end = 8
        case ping = 9
        case pong = 10
    }

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// The call is over with this reply.
        static let last = Flags(rawValue: 1)
        /// The reply goes on in the next frame of the call.
        static let more = Flags(rawValue: 2)
        static let all: Flags = [.last, .more]
    }

    var header: FrameHeader
    var payload: ByteBuffer

    /// A chunk of the largest size, or the body of a small object, with the fields before it.
    static let maximumPayload = UploadChunk.maximumChunk + (256 << 10)
    /// What is read from a peer that is not known yet.
    static let maximumHandshakePayload = 512
}

/// What is known of a frame before its payload.
struct FrameHeader: Equatable {
    var kind: Frame.Kind
    var flags: Frame.Flags = []
    /// Which call; 0 outside of calls.
    var call: UInt32 = 0
    /// Milliseconds that the message has from now on, `noDeadline` without an end.
    var remaining: UInt32 = 0
    var payloadLength = 0
    var payloadChecksum: UInt32 = 0

    static let size = 24
    static let version: UInt8 = 1
    static let noDeadline = UInt32.max
    /// The header's own checksum is its last field and covers what is before it.
    private static let checkedSize = 20

    /// Overwrites `size` bytes at `index`.
    func set(in buffer: inout ByteBuffer, at index: Int) {
        buffer.setInteger(UInt32(payloadLength), at: index)
        buffer.setInteger(kind.rawValue, at: index + 4)
        buffer.setInteger(flags.rawValue, at: index + 5)
        buffer.setInteger(Self.version, at: index + 6)
        buffer.setInteger(UInt8(0), at: index + 7)
        buffer.setInteger(call, at: index + 8)
        buffer.setInteger(remaining, at: index + 12)
        buffer.setInteger(payloadChecksum, at: index + 16)
        buffer.setInteger(Self.checksum(of: buffer, at: index), at: index + Self.checkedSize)
    }

    /// Reads the header at the reader index without moving it, `nil` when it is not there in full.
    ///
    /// - Throws: `malformed` if it is damaged or names a payload over `maximumPayload`.
    init?(peekingAt buffer: ByteBuffer, maximumPayload: Int) throws(WireError) {
        let index = buffer.readerIndex
        guard buffer.readableBytes >= Self.size,
            let (length, kind, flags, version, reserved, call, remaining, payloadChecksum, checksum) =
                buffer.peekMultipleIntegers(
                    as: (UInt32, UInt8, UInt8, UInt8, UInt8, UInt32, UInt32, UInt32, UInt32).self)
        else { return nil }
        guard checksum == Self.checksum(of: buffer, at: index) else { throw .malformed("frame header is damaged") }
        guard version == Self.version, reserved == 0 else { throw .malformed("frame version \(version)") }
        guard let kind = Frame.Kind(rawValue: kind) else { throw .malformed("frame kind \(kind)") }
        let options = Frame.Flags(rawValue: flags)
        guard Frame.Flags.all.isSuperset(of: options) else { throw .malformed("frame flags \(flags)") }
        guard length <= maximumPayload else { throw .malformed("frame of \(length) bytes") }
        self.init(
            kind: kind, flags: options, call: call, remaining: remaining, payloadLength: Int(length),
            payloadChecksum: payloadChecksum)
    }

    init(
        kind: Frame.Kind, flags: Frame.Flags = [], call: UInt32 = 0, remaining: UInt32 = 0, payloadLength: Int = 0,
        payloadChecksum: UInt32 = 0
    ) {
        self.kind = kind
        self.flags = flags
        self.call = call
        self.remaining = remaining
        self.payloadLength = payloadLength
        self.payloadChecksum = payloadChecksum
    }

    private static func checksum(of buffer: ByteBuffer, at index: Int) -> UInt32 {
        var checksum = CRC32C()
        buffer.withVeryUnsafeBytes {
            checksum.update(UnsafeRawBufferPointer(rebasing: $0[index..<index + checkedSize]))
        }
        return checksum.value
    }
}
