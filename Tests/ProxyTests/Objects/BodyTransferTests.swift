import NIOCore
import StorageWire
import Testing

@testable import Proxy

struct BodyTransferTests {
    /// A transfer with everything that it asked and gave.
    private final class Transcript {
        var asked: [ReadBody] = []
        var bytes = 0
        var ends: [Bool] = []
        var switches = 0
        var hasOther = true
        var onAsk: (ReadBody) -> Void = { _ in }
        private(set) var transfer: BodyTransfer!

        init(_ range: Range<Int64>, window: Int) {
            transfer = BodyTransfer(
                range: range, window: window,
                request: { [unowned self] in
                    asked.append($0)
                    onAsk($0)
                },
                switchSource: { [unowned self] in
                    switches += 1
                    return hasOther
                },
                onChunk: { [unowned self] in bytes += $0.readableBytes }, onEnd: { [unowned self] in ends.append($0) })
        }

        func answer() {
            let question = asked.removeFirst()
            transfer.received(ByteBuffer(repeating: 1, count: question.length))
        }
    }

    @Test func piecesEndOnMultiplesAndStayWithinTheWindow() {
        let transcript = Transcript(100..<3_000_000, window: 1 << 20)
        transcript.transfer.resume()
        // The first piece is short, so a third begins within the window.
        #expect(transcript.asked.map(\.offset) == [100, 524_288, 1_048_576])
        #expect(transcript.asked.map(\.length) == [524_188, 524_288, 524_288])
        while !transcript.asked.isEmpty { transcript.answer() }
        #expect(transcript.bytes == 2_999_900)
        #expect(transcript.ends == [true])
    }

    @Test func nothingIsAskedWhilePaused() {
        let transcript = Transcript(0..<3_000_000, window: 1 << 20)
        transcript.transfer.resume()
        transcript.transfer.pause()
        while !transcript.asked.isEmpty { transcript.answer() }
        #expect(transcript.bytes == 1 << 20)
        #expect(transcript.ends.isEmpty)
        transcript.transfer.resume()
        #expect(!transcript.asked.isEmpty)
    }

    @Test func anotherSourceGoesOnWhereTheFirstBroke() {
        let transcript = Transcript(0..<2_000_000, window: 1 << 20)
        transcript.transfer.resume()
        transcript.answer()
        transcript.transfer.sourceFailed()
        transcript.asked.removeAll()
        transcript.transfer.received(ByteBuffer(repeating: 1, count: 5))
        transcript.transfer.sourceReady()
        #expect(transcript.asked.first?.offset == 1 << 19)
        while !transcript.asked.isEmpty { transcript.answer() }
        #expect(transcript.bytes == 2_000_000)
        #expect(transcript.ends == [true])
    }

    @Test func withoutAnotherSourceItEndsOnce() {
        let transcript = Transcript(0..<2_000_000, window: 1 << 20)
        transcript.transfer.resume()
        transcript.hasOther = false
        transcript.transfer.sourceFailed()
        transcript.transfer.sourceFailed()
        #expect(transcript.ends == [false])
        #expect(transcript.switches == 1)
    }

    @Test func sourcesThatAnswerAtOnceNeedNoRecursion() {
        let transcript = Transcript(0..<(1 << 30), window: 1 << 20)
        let chunk = ByteBuffer(repeating: 0, count: 1 << 19)
        transcript.onAsk = { [unowned transcript] question in
            transcript.asked.removeAll()
            transcript.transfer.received(chunk.getSlice(at: 0, length: question.length)!)
        }
        transcript.transfer.resume()
        #expect(transcript.bytes == 1 << 30)
        #expect(transcript.ends == [true])
    }
}
