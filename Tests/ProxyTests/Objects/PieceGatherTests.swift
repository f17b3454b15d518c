import NIOCore
import Testing

@testable import Proxy

/// Pieces begin at a page, hold what came in its order, and are never changed while somebody has them.
struct PieceGatherTests {
    @Test(arguments: [1, 2, 3] as [UInt64]) func whatCameGoesOutInPieces(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var gather = PieceGather(size: 10_000)
        var sent: [UInt8] = []
        var pieces: [ByteBuffer] = []
        for _ in 0..<200 {
            let chunk = (0..<Int.random(in: 0...3000, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            sent += chunk
            gather.add(ByteBuffer(bytes: chunk)) { piece in pieces.append(piece) }
        }
        #expect(pieces.allSatisfy { $0.readableBytes == 10_000 }, "seed \(seed)")
        if let rest = gather.takeRest() { pieces.append(rest) }
        #expect(gather.takeRest() == nil)
        let isAligned = pieces.allSatisfy { piece in
            piece.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) % UInt(PieceGather.alignment) == 0 }
        }
        #expect(isAligned, "seed \(seed)")
        #expect(pieces.flatMap { [UInt8]($0.readableBytesView) } == sent, "seed \(seed)")
    }

    @Test func memoryThatNobodyHoldsIsUsedAgain() {
        var gather = PieceGather(size: 5000)
        var places: Set<UInt> = []
        for number in 0..<100 {
            gather.add(ByteBuffer(repeating: UInt8(number), count: 5000)) { piece in
                piece.withUnsafeReadableBytes { _ = places.insert(UInt(bitPattern: $0.baseAddress)) }
                #expect(piece.readableBytesView.allSatisfy { $0 == UInt8(number) })
            }
        }
        #expect(places.count < 10)
    }
}
