/// How far the file for the next segment is, and how far it should be: whole before it is needed, and not much sooner, since the disk's
/// time belongs to commits.
struct SpareDraft {
    /// Zeros that are written at once.
    static let piece: Int64 = 4 << 20
    /// Bytes per second at least, however little is committed.
    static let slowest: Int64 = 32 << 20

    let size: Int64
    private let begun: UInt64
    private(set) var made: Int64 = 0

    /// - Parameters:
    ///   - size: bytes of a segment.
    ///   - now: nanoseconds of a clock that only goes forward.
    init(size: Int64, now: UInt64) {
        self.size = size
        begun = now
    }

    var isWhole: Bool { made >= size }

    /// Bytes that should be there when the segment before is written up to `head`: all of them when that is half full.
    func due(head: Int64, now: UInt64) -> Int64 {
        let byTime = Double(now - begun) / 1e9 * Double(Self.slowest)
        return min(size, max(Int64(byTime), head * 2))
    }

    /// The next piece: where it begins and how long it is; nil when enough is there for now.
    func nextPiece(head: Int64, now: UInt64) -> (offset: Int64, count: Int)? {
        guard made < due(head: head, now: now) else { return nil }
        return (made, Int(min(Self.piece, size - made)))
    }

    mutating func wrote(_ count: Int) { made += Int64(count) }
}
