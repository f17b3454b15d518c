import NIOCore
import Testing

@testable import DeviceLog

/// Random operations against a plain model, on a real disk.
struct ModelTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func randomOperationsMatchTheModel(seed: UInt64) throws {
        let directory = TemporaryDirectory()
        var random = SeededGenerator(seed: seed)
        var configuration = Configuration.test
        configuration.segmentSize = 16 << 10
        configuration.memoryEntries = 40
        configuration.compactionGarbage = 0.3
        func open() throws -> DeviceLog {
            try DeviceLog.open(
                directory: directory.path, identity: testIdentity, configuration: configuration, logger: quietLogger)
        }
        var log = try open()
        var model = Model()
        var clock: UInt64 = 10
        for step in 0..<600 {
            clock += 1
            switch Int.random(in: 0..<100, using: &random) {
            case 0, 1:
                log.close()
                log = try open()
            case 2, 3: try log.flushIndex()
            case 4...6: try log.compact()
            default:
                let change = Self.change(clock, &random, model)
                let outcome = log.perform(change.write)
                if case .failed = outcome { Issue.record("seed \(seed), step \(step): \(outcome)") }
                model.acknowledge(change)
            }
            if step % 50 == 0 {
                var check = ModelCheck()
                try check.run(log, &model)
                #expect(check.failures.isEmpty, "seed \(seed), step \(step)")
                guard check.failures.isEmpty else { return }
            }
        }
        var check = ModelCheck()
        try check.run(log, &model)
        #expect(check.failures.isEmpty, "seed \(seed)")
        #expect(try log.verifyIndex())
        log.close()
    }

    private static func change(_ clock: UInt64, _ random: inout SeededGenerator, _ model: Model) -> Model.Change {
        let number = UInt64.random(in: 0..<20, using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0...3:
            return .put(number, at: clock, metadata: "m\(clock)", body: String(repeating: "b", count: Int(clock % 900)))
        case 4: return .delete(number, at: clock)
        case 5:
            let base = model.objects[number]?.first?.dataTimestamp ?? 1
            return .update(number, at: clock, base: base, metadata: "u\(clock)")
        case 6: return .info(number % 2, "i\(clock)")
        default:
            let long = Int.random(in: 0..<3, using: &random) == 0
            let stem = long ? String(repeating: "long/", count: 100) : "short/"
            let name = stem + String(Int.random(in: 0..<30, using: &random))
            let deleted = Int.random(in: 0..<4, using: &random) == 0
            return .row(number % 2, name: name, at: clock, deleted: deleted, bytes: Int64(clock), value: "v\(clock)")
        }
    }
}
