import Foundation
import NIOCore
import Testing

@testable import DeviceLog

/// Histories of a device that is stopped in the middle of everything. `DEVICE_LOG_HISTORIES` sets how many per test,
/// `DEVICE_LOG_SEED` runs a single one.
struct CrashTests {
    static let histories = Int(ProcessInfo.processInfo.environment["DEVICE_LOG_HISTORIES"] ?? "") ?? 2500
    /// Of a single history, which then also logs.
    static let seed = UInt64(ProcessInfo.processInfo.environment["DEVICE_LOG_SEED"] ?? "")

    /// Four shares, so that the cores share the work.
    @Test(arguments: 0..<4) func nothingAcknowledgedIsLost(share: Int) throws {
        let seeds = Self.seed.map { $0...$0 } ?? UInt64(share) << 32...UInt64(share) << 32 + UInt64(Self.histories - 1)
        for seed in seeds {
            var history = CrashHistory(seed: seed)
            let failures = history.run()
            #expect(failures.isEmpty, "DEVICE_LOG_SEED=\(seed)")
            if !failures.isEmpty { return }
        }
    }

    /// One history, stopped at every one of its changing operations in turn.
    @Test func everyOperationIsSurvived() throws {
        for seed in 1_000_000..<1_000_008 as Range<UInt64> {
            var operation = 1
            while true {
                var history = CrashHistory(seed: seed, firstCrash: operation)
                let failures = history.run()
                #expect(failures.isEmpty, "seed \(seed), operation \(operation)")
                if !failures.isEmpty { return }
                guard history.hasCrashed else { break }
                operation += 1
            }
        }
    }
}

/// A few lives of one device, each ended by a power loss, a kill or a close.
struct CrashHistory {
    enum IndexFate: CaseIterable { case current, lost, old }

    private var random: SeededGenerator
    private let fileSystem: FaultyFileSystem
    private var model = Model()
    private var check = ModelCheck()
    private var index = MemoryIndex()
    private var oldIndex = MemoryIndex.Contents()
    private var clock: UInt64 = 100
    private let firstCrash: Int?
    private(set) var hasCrashed = false
    private var configuration = Configuration.test
    /// The index is on the same disk; otherwise it is apart and has a fate of its own.
    private let hasOwnIndex: Bool

    init(seed: UInt64, firstCrash: Int? = nil) {
        random = SeededGenerator(seed: seed)
        fileSystem = FaultyFileSystem(seed: random.next())
        self.firstCrash = firstCrash
        hasOwnIndex = Bool.random(using: &random)
        configuration.indexRunSize = [300, 3000].randomElement(using: &random)!
        configuration.segmentSize = [2048, 4096, 16384].randomElement(using: &random)!
        configuration.maximumMetadata = 256
        configuration.maximumBatchRecords = 8
        configuration.memoryEntries = Int.random(in: 4...64, using: &random)
        configuration.compactionGarbage = 0.3
    }

    /// What was wrong, nothing if all is well.
    mutating func run() -> [String] {
        do {
            let lives = firstCrash == nil ? Int.random(in: 1...3, using: &random) : 1
            for _ in 0..<lives {
                try live()
                guard check.failures.isEmpty else { return check.failures }
            }
            try lastLook()
        } catch {
            check.failures.append("thrown: \(error)")
        }
        return check.failures
    }

    private mutating func live() throws {
        if let firstCrash {
            fileSystem.plan.operationsUntilCrash = firstCrash
        } else if Bool.random(using: &random) {
            fileSystem.plan.operationsUntilCrash = Int.random(in: 1...40, using: &random)
        }
        if let log = try open() {
            oldIndex = index.snapshot
            if !fileSystem.hasStopped { try check.run(log, &model) }
            work(log)
            if Int.random(in: 0..<4, using: &random) == 0 { log.close() }
        }
        if fileSystem.hasStopped { hasCrashed = true }
        if Int.random(in: 0..<4, using: &random) == 0 {
            fileSystem.killProcess()
        } else {
            fileSystem.losePower()
        }
        switch IndexFate.allCases.randomElement(using: &random)! {
        case .current: index = MemoryIndex(index.snapshot)
        case .lost: index = MemoryIndex()
        case .old: index = MemoryIndex(oldIndex)
        }
    }

    /// Opens twice: what the first start made of it must not spoil the second.
    private mutating func lastLook() throws {
        for _ in 0..<2 {
            fileSystem.plan.operationsUntilCrash = nil
            guard let log = try open() else {
                check.failures.append("cannot be opened")
                return
            }
            try check.run(log, &model)
            fileSystem.losePower()
            index = Bool.random(using: &random) ? MemoryIndex() : MemoryIndex(index.snapshot)
        }
    }

    private func open() throws -> DeviceLog? {
        do {
            return try DeviceLog.open(
                directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
                logger: testLogger, index: hasOwnIndex ? nil : index)
        } catch {
            if fileSystem.hasStopped { return nil }
            throw error
        }
    }

    private mutating func work(_ log: DeviceLog) {
        for _ in 0..<Int.random(in: 1...10, using: &random) {
            guard !fileSystem.hasStopped else { return }
            switch Int.random(in: 0..<20, using: &random) {
            case 0, 1: try? log.flushIndex()
            case 2, 3: _ = try? log.compact()
            default: commit(log)
            }
        }
    }

    /// One group of writes, committed together.
    private mutating func commit(_ log: DeviceLog) {
        let changes = (0..<Int.random(in: 1...5, using: &random)).map { _ in randomChange() }
        let answers = Answers()
        for change in changes { log.submit(change.write, completion: answers) }
        while log.commitOnce() {}
        for (change, outcome) in zip(changes, answers.outcomes) {
            if case .failed = outcome { model.attempt(change) } else { model.acknowledge(change) }
        }
    }

    private mutating func randomChange() -> Model.Change {
        clock += 1
        // Now and then from the past.
        let timestamp =
            Int.random(in: 0..<5, using: &random) == 0 ? clock - UInt64.random(in: 1...20, using: &random) : clock
        let number = UInt64.random(in: 0..<4, using: &random)
        let text = String(repeating: "x", count: Int.random(in: 0...700, using: &random)) + "\(clock)"
        switch Int.random(in: 0..<10, using: &random) {
        case 0...3: return .put(number, at: timestamp, metadata: "m\(clock)", body: text)
        case 4: return .delete(number, at: timestamp)
        case 5, 6:
            let base = model.objects[number]?.first { $0.kind == .live }?.dataTimestamp ?? 1
            return .update(number, at: timestamp, base: base, metadata: "u\(clock)")
        case 7, 8:
            let name = ["a", "b", "c", "d"].randomElement(using: &random)!
            let deleted = Int.random(in: 0..<3, using: &random) == 0
            return .row(number % 2, name: name, at: clock, deleted: deleted, bytes: 7, value: "v\(clock)")
        default: return .info(number % 2, "i\(clock)")
        }
    }
}

/// Collects outcomes in the order of the writes.
final class Answers: WriteCompletion, CompletionSink, @unchecked Sendable {
    private(set) var outcomes: [WriteOutcome] = []

    var sink: any CompletionSink { self }

    func deliver(_ finished: [FinishedWrite]) {
        outcomes.append(contentsOf: finished.map(\.outcome))
    }
}
