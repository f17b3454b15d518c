import NIOCore
import NIOEmbedded
import Testing

@testable import StorageWire

/// When passes begin, and that whoever waits for one is told.
struct PassScheduleTests {
    private final class Passes: @unchecked Sendable {
        let loop = EmbeddedEventLoop()
        lazy var schedule = PassSchedule(on: loop, interval: .seconds(30))
        var underWay: [EventLoopPromise<Void>] = []
        var begun = 0

        func start() {
            schedule.start(after: .seconds(2)) { [self] in
                begun += 1
                underWay.append(loop.makePromise())
                return underWay.last!.futureResult
            }
        }

        func end() {
            underWay.removeFirst().succeed()
            loop.run()
        }
    }

    @Test func theNextOneComesAfterTheInterval() {
        let passes = Passes()
        passes.start()
        passes.loop.advanceTime(by: .seconds(1))
        #expect(passes.begun == 0)
        passes.loop.advanceTime(by: .seconds(1))
        #expect(passes.begun == 1)
        passes.loop.advanceTime(by: .seconds(100))
        #expect(passes.begun == 1)
        passes.end()
        passes.loop.advanceTime(by: .seconds(29))
        #expect(passes.begun == 1)
        passes.loop.advanceTime(by: .seconds(1))
        #expect(passes.begun == 2)
        passes.end()
    }

    @Test func whoAsksDuringAPassGetsAnotherOne() throws {
        let passes = Passes()
        passes.start()
        let first = passes.schedule.run()
        passes.loop.run()
        #expect(passes.begun == 1)
        let second = passes.schedule.run()
        passes.loop.run()
        #expect(passes.begun == 1)
        passes.end()
        try first.wait()
        passes.loop.advanceTime(by: .zero)
        #expect(passes.begun == 2)
        passes.end()
        try second.wait()
    }

    /// A promise that nobody keeps ends a debug build.
    @Test func nobodyWaitsForAPassThatDoesNotCome() throws {
        let passes = Passes()
        passes.start()
        let first = passes.schedule.run()
        passes.loop.run()
        let second = passes.schedule.run()
        passes.loop.run()
        passes.schedule.stop()
        try second.wait()
        let third = passes.schedule.run()
        passes.loop.run()
        try third.wait()
        passes.end()
        try first.wait()
        passes.loop.advanceTime(by: .hours(1))
        #expect(passes.begun == 1)
    }
}
