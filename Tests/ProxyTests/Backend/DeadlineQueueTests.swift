import NIOCore
import Testing

@testable import Proxy

struct DeadlineQueueTests {
    private final class Entry: DeadlineQueue.Entry {
        let number: Int
        let onExpiry: (Entry) -> Void

        init(_ number: Int, _ onExpiry: @escaping (Entry) -> Void) {
            self.number = number
            self.onExpiry = onExpiry
        }

        override func expired() { onExpiry(self) }
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func entriesEndInTheOrderOfTheirDeadlines(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let queue = DeadlineQueue()
        var ended: [Int] = []
        let entries = (0..<50).map { number in Entry(number) { ended.append($0.number) } }
        var deadlines: [Int: UInt64] = [:]
        for _ in 0..<400 {
            let entry = entries.randomElement(using: &random)!
            if Int.random(in: 0..<4, using: &random) == 0 {
                queue.remove(entry)
                deadlines[entry.number] = nil
            } else {
                let deadline = UInt64.random(in: 1...100, using: &random)
                queue.add(entry, deadline: .uptimeNanoseconds(deadline))
                deadlines[entry.number] = deadline
            }
        }
        queue.sweep(now: .uptimeNanoseconds(50))
        #expect(Set(ended) == Set(deadlines.filter { $0.value <= 50 }.keys), "seed \(seed)")
        #expect(ended.map { deadlines[$0]! } == ended.map { deadlines[$0]! }.sorted())
        queue.sweep(now: .uptimeNanoseconds(100))
        #expect(ended.count == deadlines.count)
        #expect(queue.isEmpty)
    }

    @Test func anEntryMayEnterAgainAndRemoveOthersWhileItEnds() {
        let queue = DeadlineQueue()
        var ended: [Int] = []
        let other = Entry(2) { ended.append($0.number) }
        let entry = Entry(1) {
            ended.append($0.number)
            queue.remove(other)
            if ended.count == 1 { queue.add($0, deadline: .uptimeNanoseconds(9)) }
        }
        queue.add(entry, deadline: .uptimeNanoseconds(1))
        queue.add(other, deadline: .uptimeNanoseconds(1))
        queue.sweep(now: .uptimeNanoseconds(1))
        #expect(ended == [1])
        queue.sweep(now: .uptimeNanoseconds(9))
        #expect(ended == [1, 1])
        #expect(queue.isEmpty)
    }
}
