import NIOCore

/// Frames on their way out: small ones side by side in one buffer, large bodies as they are between such buffers.
///
/// Everything that a turn of the loop brings leaves in as few writes as there are large bodies plus one.
struct FrameOutput {
    private var sealed = CircularBuffer<ByteBuffer>()
    private var open = ByteBuffer()
    /// What the last buffer came to, as a first guess for the next.
    private var usual = 1 << 10

    /// A body from this size on is not copied.
    private static let separateBody = 16 << 10
    /// A buffer is not filled further than this.
    private static let largestBuffer = 64 << 10

    /// Bytes that wait.
    private(set) var byteCount = 0

    /// Appends a frame whose payload `encode` writes; the buffer it returns is the rest of the payload.
    ///
    /// - Returns: `false` if the payload is over `Frame.maximumPayload`; then nothing was appended.
    mutating func append(_ header: FrameHeader, encode: (inout ByteBuffer) -> ByteBuffer?) -> Bool {
        prepare()
        let start = open.writerIndex
        open.writeRepeatingByte(0, count: FrameHeader.size)
        let body = encode(&open)
        let fields = open.writerIndex - start - FrameHeader.size
        guard fields + (body?.readableBytes ?? 0) <= Frame.maximumPayload else {
            open.moveWriterIndex(to: start)
            return false
        }
        finish(header, at: start, body: body)
        return true
    }

    /// Appends a reply, in several frames if it is over `Frame.maximumPayload`.
    ///
    /// - Returns: `false` if the reply is over `maximumReply`; then nothing was appended.
    mutating func append(_ reply: StorageReply, _ header: FrameHeader, maximumReply: Int) -> Bool {
        if append(header, encode: { reply.encode(into: &$0) }) { return true }
        var rest = ByteBuffer()
        if let body = reply.encode(into: &rest) { rest.writeImmutableBuffer(body) }
        guard rest.readableBytes <= maximumReply else { return false }
        while let piece = rest.readSlice(length: min(rest.readableBytes, Frame.maximumPayload)) {
            var header = header
            if rest.readableBytes > 0 { header.flags.formUnion(.more) }
            _ = append(header) { _ in piece }
            if rest.readableBytes == 0 { break }
        }
        return true
    }

    /// The next bytes to write, `nil` when nothing waits.
    mutating func next() -> ByteBuffer? {
        let buffer: ByteBuffer
        if let first = sealed.popFirst() {
            buffer = first
        } else if open.readableBytes > 0 {
            usual = open.readableBytes
            buffer = open
            open = ByteBuffer()
        } else {
            return nil
        }
        byteCount -= buffer.readableBytes
        return buffer
    }

    private mutating func prepare() {
        if open.readableBytes >= Self.largestBuffer { seal() }
        if open.capacity == 0 { open.reserveCapacity(min(usual + usual / 4, Self.largestBuffer)) }
    }

    private mutating func seal() {
        sealed.append(open)
        open = ByteBuffer()
    }

    private mutating func finish(_ header: FrameHeader, at start: Int, body: ByteBuffer?) {
        var checksum = CRC32C()
        let fields = start + FrameHeader.size..<open.writerIndex
        open.withVeryUnsafeBytes { checksum.update(UnsafeRawBufferPointer(rebasing: $0[fields])) }
        if let body { checksum.update(body) }
        var header = header
        header.payloadLength = fields.count + (body?.readableBytes ?? 0)
        header.payloadChecksum = checksum.value
        header.set(in: &open, at: start)
        byteCount += FrameHeader.size + header.payloadLength
        guard let body, body.readableBytes > 0 else { return }
        if body.readableBytes < Self.separateBody {
            open.writeImmutableBuffer(body)
        } else {
            seal()
            sealed.append(body)
        }
    }
}
