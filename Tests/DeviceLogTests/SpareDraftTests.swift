import Testing

@testable import DeviceLog

@Suite("The file for the next segment")
struct SpareDraftTests {
    private static let second: UInt64 = 1_000_000_000
    private static let size: Int64 = 256 << 20

    @Test("is whole when the segment before is half full")
    func followsTheHead() {
        var draft = SpareDraft(size: Self.size, now: 0)
        for head in stride(from: Int64(0), through: Self.size / 2, by: 1 << 20) {
            while let piece = draft.nextPiece(head: head, now: 0) {
                #expect(piece.offset == draft.made)
                draft.wrote(piece.count)
            }
            #expect(draft.made >= head * 2 && draft.made < head * 2 + SpareDraft.piece)
        }
        #expect(draft.isWhole)
        #expect(draft.nextPiece(head: Self.size, now: Self.second) == nil)
    }

    @Test("gets on slowly while nothing is committed")
    func followsTheClock() {
        var draft = SpareDraft(size: Self.size, now: 7 * Self.second)
        #expect(draft.nextPiece(head: 0, now: 7 * Self.second) == nil)
        while let piece = draft.nextPiece(head: 0, now: 8 * Self.second) { draft.wrote(piece.count) }
        #expect(draft.made == SpareDraft.slowest)
    }

    @Test("is of the size that was asked for, whatever the pieces")
    func endsWithARest() {
        var draft = SpareDraft(size: SpareDraft.piece + 4096, now: 0)
        var counts: [Int] = []
        while let piece = draft.nextPiece(head: .max / 2, now: 0) {
            counts.append(piece.count)
            draft.wrote(piece.count)
        }
        #expect(counts == [Int(SpareDraft.piece), 4096])
        #expect(draft.isWhole)
    }
}
