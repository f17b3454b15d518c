import Synchronization
import Testing

@testable import Daemon

struct WorkerTests {
    /// A clock that a test moves.
    private final class TestClock: Sendable {
        private let now = Mutex<UInt64>(1_000_000_000_000)

        var clock: MonotonicClock { MonotonicClock { self.now.withLock { $0 } } }

        func pass(seconds: Double) { now.withLock { $0 += UInt64(seconds * 1e9) } }
    }

    private static func worker(_ time: TestClock, pace: Int64 = 0) -> WorkerControl {
        WorkerControl(
            name: "auditor", unit: .bytes, pace: pace, clock: time.clock, wallClock: WallClock { 7 * 100_000 })
    }

    @Test func statesFollowEachOther() {
        let worker = Self.worker(TestClock())
        #expect(worker.status.state == .idle)
        worker.beginPass(total: 10)
        worker.note(activity: "device d1")
        #expect(worker.status.state == .running)
        #expect(worker.status.activity == "device d1")
        worker.pause()
        #expect(worker.status.state == .paused)
        #expect(worker.step(4) == .paused)
        worker.resume()
        #expect(worker.step(6) == .proceed)
        #expect(worker.status.done == 10)
        #expect(worker.status.lastPass == nil)
        worker.endPass()
        #expect(worker.status.state == .idle)
        #expect(worker.status.lastPass == 7)
        worker.stop()
        #expect(worker.status.state == .stopped)
        #expect(worker.step(0) == .stop)
        #expect(!worker.advance(1))
        #expect(!worker.rest(seconds: 1000))
    }

    @Test func thePaceIsHeld() {
        let time = TestClock()
        let worker = Self.worker(time, pace: 1000)
        worker.beginPass(total: nil)
        // What was not used of a tenth of a second counts.
        #expect(worker.step(100) == .proceed)
        #expect(worker.step(500) == .wait(nanoseconds: 500_000_000))
        time.pass(seconds: 0.2)
        #expect(worker.step(0) == .wait(nanoseconds: 300_000_000))
        time.pass(seconds: 0.3)
        #expect(worker.step(0) == .proceed)
        time.pass(seconds: 100)
        #expect(worker.step(1000) == .wait(nanoseconds: 900_000_000))
        // Another pace forgets what was owed.
        worker.setPace(10)
        #expect(worker.step(0) == .proceed)
        worker.setPace(0)
        #expect(worker.step(1 << 40) == .proceed)
    }

    @Test func rateAndTimeLeftAreOfTheLastSeconds() {
        let time = TestClock()
        let worker = Self.worker(time)
        worker.beginPass(total: 10_000)
        #expect(worker.status.rate == 0)
        #expect(worker.status.secondsLeft == nil)
        for _ in 0..<20 {
            time.pass(seconds: 0.5)
            #expect(worker.step(50) == .proceed)
        }
        #expect(abs(worker.status.rate - 100) < 1)
        #expect(worker.status.secondsLeft == 90)
        for _ in 0..<20 {
            time.pass(seconds: 0.5)
            _ = worker.step(5)
        }
        #expect(abs(worker.status.rate - 10) < 1)
        worker.endPass()
        #expect(worker.status.rate == 0)
        #expect(worker.status.total == worker.status.done)
    }

    @Test func whoIsInAHurryWaitsForNoPace() {
        let worker = WorkerControl(name: "w", unit: .bytes, pace: 1)
        worker.beginPass(total: nil)
        // A week of waiting, each.
        for _ in 0..<3 { #expect(worker.advance(600_000, isHurried: true)) }
        #expect(worker.status.done == 1_800_000)
        worker.stop()
        #expect(!worker.advance(1, isHurried: true))
    }

    @Test func aThreadThatWaitsIsWoken() throws {
        let worker = WorkerControl(name: "w", unit: .objects, pace: 1)
        let steps = Mutex(0)
        let thread = try ServiceThread(named: "worker") {
            while worker.advance(1_000_000) { steps.withLock { $0 += 1 } }
        }
        // Eleven days at this pace.
        worker.pause()
        worker.setPace(0)
        #expect(worker.settings == WorkerSettings(isPaused: true, pace: 0))
        worker.resume()
        while steps.withLock({ $0 }) < 10 {}
        worker.pause()
        worker.stop()
        thread.join()
    }

    @Test func aRestEndsWhenSomethingChanges() throws {
        let worker = WorkerControl(name: "w", unit: .objects)
        let passes = Mutex(0)
        let thread = try ServiceThread(named: "worker") {
            while worker.rest(seconds: 1_000_000) { passes.withLock { $0 += 1 } }
        }
        while passes.withLock({ $0 }) == 0 { worker.setPace(0) }
        worker.stop()
        thread.join()
    }

    @Test func errorsAreCountedAndTheLastIsKept() {
        let worker = Self.worker(TestClock())
        worker.note(error: "first")
        worker.note(error: String(repeating: "x", count: 10_000))
        #expect(worker.status.errors == 2)
        #expect(worker.status.lastError == String(repeating: "x", count: 240))
    }

    @Test func changesAreStoredBeforeTheyHold() throws {
        struct Full: Error {}
        let stored = Mutex<[[String: KeptWorkerSettings]]>([])
        let isFull = Mutex(false)
        let registry = WorkerRegistry(settings: [
            "auditor": KeptWorkerSettings(isPaused: true, pace: nil),
            "other": KeptWorkerSettings(isPaused: false, pace: 1),
        ]) { settings in
            if isFull.withLock({ $0 }) { throw Full() }
            stored.withLock { $0.append(settings) }
        }
        let worker = Self.worker(TestClock(), pace: 9)
        registry.add(worker)
        #expect(worker.settings == WorkerSettings(isPaused: true, pace: 9))
        #expect(try registry.change("auditor", .resume).state == .idle)
        #expect(try registry.change("auditor", .pace(7)).pace == 7)
        #expect(
            stored.withLock { $0.last } == [
                "auditor": KeptWorkerSettings(isPaused: false, pace: 7),
                "other": KeptWorkerSettings(isPaused: false, pace: 1),
            ])
        isFull.withLock { $0 = true }
        #expect(throws: WorkerRegistryError.self) { try registry.change("auditor", .pause) }
        #expect(worker.status.state == .idle)
        #expect(throws: WorkerRegistryError.unknown(name: "nobody", known: ["auditor"])) {
            try registry.change("nobody", .pause)
        }
        #expect(throws: WorkerRegistryError.negativePace) { try registry.change("auditor", .pace(-1)) }
    }

    @Test func whoIsRemovedEndsAndLeavesTheOthers() throws {
        let registry = WorkerRegistry()
        let worker = Self.worker(TestClock())
        let other = WorkerControl(name: "other", unit: .bytes)
        registry.add(worker)
        registry.add(other)
        worker.pause()
        registry.remove(worker)
        #expect(worker.advance(1) == false)
        #expect(registry.statuses.map(\.name) == ["other"])
        #expect(other.status.state == .idle)
        // One of the same name that came meanwhile stays.
        let next = Self.worker(TestClock())
        registry.add(next)
        registry.remove(worker)
        #expect(registry.statuses.map(\.name) == ["auditor", "other"])
    }

    @Test func workersHaveMetrics() throws {
        let registry = WorkerRegistry()
        let metrics = MetricsRegistry()
        let worker = Self.worker(TestClock())
        registry.add(worker)
        try registry.register(on: metrics)
        _ = worker.step(42)
        worker.note(error: "none")
        worker.pause()
        let text = String(decoding: metrics.render(), as: UTF8.self)
        #expect(text.contains("ringfort_worker_done_total{worker=\"auditor\"} 42"))
        #expect(text.contains("ringfort_worker_errors_total{worker=\"auditor\"} 1"))
        #expect(text.contains("ringfort_worker_paused{worker=\"auditor\"} 1"))
        #expect(registry.statuses.map(\.name) == ["auditor"])
    }
}
