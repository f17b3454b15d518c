private import Glibc
import NIOCore

/// Bytes from the connection that the parser has not read yet: a front that lines are read from, and what came after it.
///
/// Large pieces queue up as they are, so that bodies stay slices; small ones are joined, so that a client that sends one
/// byte at a time cannot make each of them hold a buffer.
struct PendingInput: Sendable {
    /// Pieces up to this size are copied behind the one before them.
    private static let joinedPiece = 4096
    /// A head from a larger buffer is copied, so that it does not keep that buffer alive.
    private static let sharedHeadBuffer = 16 * 1024

    private(set) var front = ByteBuffer()
    private var queue = CircularBuffer<ByteBuffer>()
    private var queuedBytes = 0
    /// Bytes at the start of `front` that have no line feed.
    private var scanned = 0

    var count: Int { front.readableBytes + queuedBytes }

    mutating func append(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        if count == 0 {
            front = bytes
        } else if bytes.readableBytes > Self.joinedPiece {
            queuedBytes += bytes.readableBytes
            queue.append(bytes)
        } else if queue.isEmpty {
            front.writeImmutableBuffer(bytes)
        } else {
            queuedBytes += bytes.readableBytes
            queue[queue.index(before: queue.endIndex)].writeImmutableBuffer(bytes)
        }
    }

    /// Puts the next queued piece behind the front, for what must be read in one piece. False when there is none.
    mutating func joinNext() -> Bool {
        guard let next = queue.popFirst() else { return false }
        queuedBytes -= next.readableBytes
        if front.readableBytes == 0 { front = next } else { front.writeImmutableBuffer(next) }
        return true
    }

    /// Offset of the first line feed in front, which grows as needed. Bytes without one are not looked at twice.
    mutating func indexOfLineFeed() -> Int? {
        repeat {
            if let found = lineFeedInFront() { return found }
            scanned = front.readableBytes
        } while joinNext()
        return nil
    }

    private func lineFeedInFront() -> Int? {
        front.withUnsafeReadableBytes { bytes in
            guard let base = bytes.baseAddress, scanned < bytes.count,
                let match = memchr(base + scanned, 0x0A, bytes.count - scanned)
            else { return nil }
            return UnsafeRawPointer(match) - base
        }
    }

    func byte(at offset: Int) -> UInt8? {
        front.getInteger(at: front.readerIndex + offset)
    }

    /// A slice of at most `limit` bytes; nil when there are none.
    mutating func take(atMost limit: Int64) -> ByteBuffer? {
        if front.readableBytes == 0, let next = queue.popFirst() {
            queuedBytes -= next.readableBytes
            front = next
        }
        let length = Int(min(limit, Int64(front.readableBytes)))
        guard length > 0, let slice = front.readSlice(length: length) else { return nil }
        scanned = 0
        releaseEmptyFront()
        return slice
    }

    /// The first `length` bytes with reader index 0.
    mutating func takeHead(_ length: Int) -> ByteBuffer {
        var head = front.readSlice(length: length) ?? ByteBuffer()
        if head.storageCapacity > Self.sharedHeadBuffer {
            head = ByteBuffer(bytes: head.readableBytesView)
        }
        scanned = 0
        releaseEmptyFront()
        return head
    }

    /// Gives the receive buffer back, so that the next read can use it again.
    private mutating func releaseEmptyFront() {
        if front.readableBytes == 0 { front = ByteBuffer() }
    }
}
