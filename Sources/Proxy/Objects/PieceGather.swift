import NIOCore

/// Puts what arrives of a body together in pieces of one size whose bytes begin at a page. The devices of this process write such a piece to
/// their disks as it is: all replicas share the one copy.
struct PieceGather {
    /// What disks want memory to be aligned to when they are written past the page cache.
    static let alignment = 4096

    private let size: Int
    private var piece = ByteBuffer()
    private var hasPiece = false
    /// Given out before: those that nobody holds any more are used again.
    private var given = CircularBuffer<ByteBuffer>()
    /// Bytes that are on their way at most, about: so much is kept to be used again.
    var window = 0

    /// - Parameter size: bytes of a piece.
    init(size: Int) {
        self.size = max(1, size)
    }

    /// Takes some bytes, and gives every piece that they fill.
    mutating func add(_ chunk: ByteBuffer, _ give: (ByteBuffer) -> Void) {
        var rest = chunk
        while rest.readableBytes > 0 {
            if !hasPiece { begin() }
            let count = min(rest.readableBytes, size - piece.readableBytes)
            if let part = rest.readSlice(length: count) { piece.writeImmutableBuffer(part) }
            if piece.readableBytes == size, let full = takeRest() { give(full) }
        }
    }

    /// What there is of a piece that is not full; nil when there is nothing.
    mutating func takeRest() -> ByteBuffer? {
        guard hasPiece else { return nil }
        hasPiece = false
        while given.count > window / size { given.removeFirst() }
        given.append(piece)
        defer { piece = ByteBuffer() }
        return piece
    }

    private mutating func begin() {
        hasPiece = true
        // Takes new memory when somebody still reads the old.
        piece = given.popFirst() ?? ByteBuffer()
        piece.clear(minimumCapacity: size + Self.alignment)
        let address = piece.withVeryUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        let padding = (Self.alignment - Int(address % UInt(Self.alignment))) % Self.alignment
        piece.moveWriterIndex(to: padding)
        piece.moveReaderIndex(to: padding)
    }
}
