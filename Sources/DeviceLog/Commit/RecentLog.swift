internal import Glibc
internal import NIOCore
internal import Synchronization

/// The last bytes of the log in memory: what was written past the page cache and is often read soon after.
///
/// A ring addressed by the offset in the segment. One thread adds; any thread reads.
final class RecentLog: Sendable {
    private struct Window {
        var segment: UInt32 = 0
        /// These bytes of the segment are in the ring.
        var start = 0
        var end = 0
        /// Made by the first batch: a device that is only read has none.
        var ring: UnsafeMutableRawBufferPointer?
    }

    private let capacity: Int
    private let window = Mutex(Window())

    /// - Parameter capacity: bytes of memory; 0: nothing is kept.
    init(capacity: Int) {
        self.capacity = capacity
    }

    deinit {
        window.withLock { $0.ring?.deallocate() }
    }

    /// Keeps a batch that was written at `offset` of a segment.
    func add(_ bytes: UnsafeRawBufferPointer, segment: UInt32, offset: UInt32) {
        let start = Int(offset)
        guard bytes.count <= capacity, capacity > 0 else { return }
        let ring: UnsafeMutableRawBufferPointer = window.withLock { window in
            let ring = window.ring ?? .allocate(byteCount: capacity, alignment: directAlignment)
            window.ring = ring
            if window.segment != segment || window.end != start {
                window.segment = segment
                window.start = start
                window.end = start
            }
            window.start = max(window.start, start + bytes.count - capacity)
            return ring
        }
        // Outside of the window, so that readers don't wait for the copy.
        forEachPart(at: start, count: bytes.count) { place, from, count in
            (ring.baseAddress! + place).copyMemory(from: bytes.baseAddress! + from, byteCount: count)
        }
        window.withLock { $0.end = start + bytes.count }
    }

    /// `count` bytes from `offset` of a segment, if all of them are here.
    func read(segment: UInt32, offset: UInt32, count: Int) -> ByteBuffer? {
        let start = Int(offset)
        return window.withLock { window in
            guard let ring = window.ring, window.segment == segment, start >= window.start, start + count <= window.end
            else { return nil }
            var buffer = ByteBufferAllocator().buffer(capacity: count)
            forEachPart(at: start, count: count) { place, _, count in
                _ = buffer.writeBytes(UnsafeRawBufferPointer(ring).part(place, count))
            }
            return buffer
        }
    }

    /// The one or two parts of the ring that bytes of the segment are in: `place` in the ring, `from` the first of them.
    private func forEachPart(at offset: Int, count: Int, _ body: (_ place: Int, _ from: Int, _ count: Int) -> Void) {
        let place = offset % capacity
        let first = min(count, capacity - place)
        body(place, 0, first)
        if first < count { body(0, first, count - first) }
    }
}
