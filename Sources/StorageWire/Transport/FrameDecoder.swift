import NIOCore

/// Cuts a stream of bytes into frames. Without I/O: bytes in, frames or an error out; after an error it is of no more use.
///
/// A frame that lies within one piece of input is a slice of it. One that does not is put together in a buffer of its own size, which is
/// reserved once its header has been checked: hostile input costs at most `maximumPayload`.
struct FrameDecoder {
    /// Larger frames are refused; raised once the peer is known.
    var maximumPayload: Int
    /// Bytes that came and were not looked at.
    private var input = ByteBuffer()
    /// The beginning of a frame whose end has not come.
    private var assembly = ByteBuffer()
    /// Header of the frame in `assembly`.
    private var awaited: FrameHeader?

    init(maximumPayload: Int) { self.maximumPayload = maximumPayload }

    /// Bytes that the decoder holds memory for besides the last piece of input.
    var reservedBytes: Int { assembly.capacity }

    /// Takes what the peer sent next.
    mutating func append(_ bytes: ByteBuffer) {
        if input.readableBytes == 0 {
            input = bytes
        } else {
            input.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole frame, `nil` until more bytes come.
    ///
    /// - Throws: `WireError.malformed`: the peer or what lies between is broken, and so is the stream.
    mutating func next() throws(WireError) -> Frame? {
        if assembly.readableBytes > 0 { return try nextAssembled() }
        guard let header = try FrameHeader(peekingAt: input, maximumPayload: maximumPayload),
            input.readableBytes >= FrameHeader.size + header.payloadLength
        else {
            guard input.readableBytes > 0 else { return nil }
            return try nextAssembled()
        }
        input.moveReaderIndex(forwardBy: FrameHeader.size)
        return try frame(header, payload: input.readSlice(length: header.payloadLength))
    }

    private mutating func nextAssembled() throws(WireError) -> Frame? {
        if awaited == nil {
            fillAssembly(to: FrameHeader.size)
            awaited = try FrameHeader(peekingAt: assembly, maximumPayload: maximumPayload)
        }
        guard let header = awaited else { return nil }
        let size = FrameHeader.size + header.payloadLength
        if assembly.writableBytes < size - assembly.readableBytes { assembly.reserveCapacity(size) }
        fillAssembly(to: size)
        guard assembly.readableBytes == size else { return nil }
        assembly.moveReaderIndex(forwardBy: FrameHeader.size)
        let payload = assembly.slice()
        assembly = ByteBuffer()
        awaited = nil
        return try frame(header, payload: payload)
    }

    private mutating func fillAssembly(to size: Int) {
        let missing = size - assembly.readableBytes
        guard missing > 0, let piece = input.readSlice(length: min(missing, input.readableBytes)) else { return }
        assembly.writeImmutableBuffer(piece)
    }

    private func frame(_ header: FrameHeader, payload: ByteBuffer?) throws(WireError) -> Frame {
        guard let payload, CRC32C.of(payload) == header.payloadChecksum else {
            throw .malformed("frame payload is damaged")
        }
        return Frame(header: header, payload: payload)
    }
}
