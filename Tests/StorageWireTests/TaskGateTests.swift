import NIOCore
import NIOEmbedded
import Testing

@testable import StorageWire

struct TaskGateTests {
    @Test func tasksWaitForTheirTurnAndTooManyAreRefused() throws {
        let loop = EmbeddedEventLoop()
        let gate = TaskGate(width: 2, maximumWaiting: 3, on: loop)
        var begun: [Int] = []
        var ends: [EventLoopPromise<Int>] = []
        var results: [Int] = []
        func begin(_ number: Int) -> Bool {
            let task = gate.run { () -> EventLoopFuture<Int> in
                begun.append(number)
                ends.append(loop.makePromise())
                return ends[ends.count - 1].futureResult
            }
            task?.assumeIsolated().whenSuccess { results.append($0) }
            return task != nil
        }
        for number in 0..<5 { #expect(begin(number)) }
        #expect(!begin(5))
        #expect(begun == [0, 1])
        ends[1].succeed(10)
        loop.run()
        #expect(begun == [0, 1, 2])
        #expect(begin(6))
        #expect(!begin(7))
        // A failed one makes room as well.
        struct Failure: Error {}
        ends[0].fail(Failure())
        ends[2].succeed(20)
        loop.run()
        #expect(begun == [0, 1, 2, 3, 4])
        for number in 3...4 { ends[number].succeed(number) }
        loop.run()
        #expect(begun == [0, 1, 2, 3, 4, 6])
        ends[5].succeed(60)
        #expect(results == [10, 20, 3, 4, 60])
    }
}
