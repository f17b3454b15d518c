import NIOCore
import Synchronization
import Testing

@testable import DeviceLog

/// Segments are emptied and used again; what was confirmed is forgotten.
struct CompactionTests {
    private let fileSystem = FaultyFileSystem(seed: 3)
    private let index = MemoryIndex()

    private func open(segmentSize: Int = 8 << 10) throws -> DeviceLog {
        var configuration = Configuration.test
        configuration.segmentSize = segmentSize
        configuration.evictionBacklog = 100
        return try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger, index: index)
    }

    @Test func garbageGoesAndTheRestStays() throws {
        let log = try open()
        func put(_ number: UInt64, at timestamp: UInt64) throws {
            let outcome = log.put(number, at: timestamp, String(repeating: "x", count: 500) + "\(number)")
            guard case .stored(let position) = outcome else { throw DeviceLogError.closed }
            log.confirm(position)
        }
        for round in 1...10 as ClosedRange<UInt64> {
            for number in 0..<10 as Range<UInt64> { try put(number, at: round) }
        }
        try put(99, at: 1)
        let before = log.statistics()
        while try log.compact() {}
        let after = log.statistics()
        #expect(after.segments < before.segments / 2)
        #expect(after.liveBytes == before.liveBytes)
        for number in 0..<10 as Range<UInt64> { #expect(try log.text(number)?.hasSuffix("x\(number)") == true) }
        log.close()
        index.erase()
        let again = try open()
        for number in 0..<10 as Range<UInt64> { #expect(try again.text(number)?.hasSuffix("x\(number)") == true) }
        #expect(again.statistics().liveBytes == before.liveBytes)
    }

    @Test func itIsWatchedAndCanBeEnded() throws {
        final class Watch: Sendable {
            let events = Mutex<[String]>([])
            let mayGoOn = Mutex(false)
        }
        let watch = Watch()
        var configuration = Configuration.test
        configuration.segmentSize = 8 << 10
        configuration.compactionSteering = CompactionSteering(
            begin: { bytes in watch.events.withLock { $0.append("begin \(bytes > 0)") } },
            advance: { bytes, _ in
                watch.events.withLock { $0.append("advance \(bytes > 0)") }
                return watch.mayGoOn.withLock { $0 }
            },
            end: { watch.events.withLock { $0.append("end") } })
        let log = try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger, index: index)
        log.put(99, at: 1).confirm(log)
        for round in 1...4 as ClosedRange<UInt64> {
            for number in 0..<10 as Range<UInt64> {
                log.put(number, at: round, String(repeating: "x", count: 500)).confirm(log)
            }
        }
        let before = log.statistics()
        #expect(throws: DeviceLogError.closed) { while try log.compact() {} }
        #expect(watch.events.withLock { $0.suffix(2) } == ["begin true", "advance true"])
        watch.mayGoOn.withLock { $0 = true }
        while try log.compact() {}
        #expect(watch.events.withLock { $0.last } == "end")
        #expect(log.statistics().segments < before.segments)
        #expect(try log.text(99) == "body")
    }

    /// After a rebuild nothing counts as confirmed; once it is, the space has to come back although nothing else is written.
    @Test func itEndsWhenTheIndexIsBehindOnWhatIsConfirmed() throws {
        let log = try open()
        for round in 1...4 as ClosedRange<UInt64> {
            for number in 0..<10 as Range<UInt64> {
                log.put(number, at: round, String(repeating: "x", count: 500)).confirm(log)
            }
        }
        log.close()
        index.erase()
        let again = try open()
        try again.flushIndex()
        let before = again.statistics()
        #expect(try !again.compact())
        _ = again.takeUnconfirmedAfterRestart()
        again.confirmRestart()
        var rounds = 0
        while try again.compact(), rounds < 100 { rounds += 1 }
        #expect(rounds > 0 && rounds < 100)
        #expect(again.statistics().segments < before.segments)
    }

    /// Writes other objects until nothing is left of the segments of before.
    private static func giveUpOldSegments(_ log: DeviceLog) throws {
        for round in 1...2 as ClosedRange<UInt64> {
            for number in 10..<40 as Range<UInt64> {
                log.put(number, at: round, String(repeating: "x", count: 400)).confirm(log)
            }
        }
        try log.flushIndex()
        while try log.compact() {}
    }

    @Test func anEvictionIsForgottenOnlyWhenNothingCanComeBack() throws {
        let log = try open()
        log.put(1, at: 1).confirm(log)
        log.perform(.delete(key(1), timestamp: 2)).confirm(log)
        #expect(log.perform(.evict(key(1), timestamp: 2)).isStored)
        try log.flushIndex()
        #expect(try log.forgetEvictions() == 0)
        try Self.giveUpOldSegments(log)
        #expect(try log.catalog.object(key(1))?.kind == .evicted)
        #expect(try log.forgetEvictions() == 1)
        #expect(try log.forgetEvictions() == 0)
        try log.flushIndex()
        #expect(try log.catalog.object(key(1)) == nil)
        log.close()
        index.erase()
        // A rebuild may find the tombstone again, the object never.
        #expect(try open().version(of: key(1)).kind != .live)
    }

    @Test func anEvictionThatHidesAYoungerRecordOfTheSameTimeStays() throws {
        let log = try open()
        log.put(1, at: 1).confirm(log)
        log.perform(.evict(key(1), timestamp: 1)).confirm(log)
        try Self.giveUpOldSegments(log)
        #expect(try log.catalog.object(key(1))?.kind == .evicted)
        // It comes back, and goes again; the index knows of the first eviction only.
        log.perform(
            .restore(key(1), timestamp: 1, dataTimestamp: 1, metadata: bytes("meta"), body: .inline(bytes("body")))
        ).confirm(log)
        #expect(try log.version(of: key(1)).kind == .live)
        log.perform(.evict(key(1), timestamp: 1)).confirm(log)
        #expect(try log.forgetEvictions() == 0)
        try log.flushIndex()
        log.close()
        index.erase()
        #expect(try open().version(of: key(1)) == .absent)
    }

    @Test func theLogIsRewrittenWhenTooManyEvictionsWait() throws {
        // Large enough that what every segment has at its beginning is not much garbage.
        let log = try open(segmentSize: 64 << 10)
        // Nothing else gives up the first segments.
        let kept = 1...300 as ClosedRange<UInt64>
        for number in kept { log.put(number, at: 1, String(repeating: "x", count: 400)).confirm(log) }
        let evicted = 1_000..<1_150 as Range<UInt64>
        for number in evicted {
            log.put(number, at: 1, "").confirm(log)
            log.perform(.evict(key(number), timestamp: 1)).confirm(log)
        }
        try log.flushIndex()
        while try log.compact() {}
        var forgotten = try log.forgetEvictions()
        #expect(forgotten == 0)
        while try log.compact() {}
        forgotten = try log.forgetEvictions()
        #expect(forgotten == evicted.count)
        for number in kept { #expect(try log.text(number)?.count == 400) }
        log.close()
        index.erase()
        let again = try open(segmentSize: 64 << 10)
        for number in kept { #expect(try again.text(number)?.count == 400) }
        for number in evicted { #expect(try again.version(of: key(number)) == .absent) }
    }

    @Test func unconfirmedWritesAreListedAfterARestart() throws {
        let log = try open()
        for number in 1...6 as ClosedRange<UInt64> {
            let outcome = log.put(number, at: 1)
            if number != 3, number != 5 { outcome.confirm(log) }
        }
        #expect(log.statistics().unconfirmedWrites == 2)
        log.close()
        let again = try open()
        let keys = again.takeUnconfirmedAfterRestart()
        #expect(keys.contains(key(3)) && keys.contains(key(5)))
        #expect(!keys.contains(key(1)) && !keys.contains(key(2)))
        #expect(again.takeUnconfirmedAfterRestart().isEmpty)
        // Taken is not done: another start finds them again.
        try again.flushIndex()
        fileSystem.losePower()
        let third = try open()
        #expect(Set(third.takeUnconfirmedAfterRestart()).isSuperset(of: [key(3), key(5)]))
        third.close()
        third.confirmRestart()
        let fourth = try open()
        #expect(Set(fourth.takeUnconfirmedAfterRestart()).isSuperset(of: [key(3), key(5)]))
        fourth.confirmRestart()
        try fourth.flushIndex()
        fileSystem.losePower()
        #expect(try open().takeUnconfirmedAfterRestart().isEmpty)
    }

    @Test func outcomesSayWhatHappened() throws {
        let log = try open()
        #expect(
            log.perform(.updateMetadata(key(1), timestamp: 5, baseDataTimestamp: 1, metadata: bytes(""))) == .missing)
        #expect(log.put(1, at: 5).isStored)
        #expect(log.put(1, at: 5).isStored)
        let conditional = Write.put(
            key(1), timestamp: 9, metadata: bytes(""), body: .inline(bytes("")), condition: .ifAbsent)
        #expect(log.perform(conditional) == .conditionFailed(newest: 5))
        #expect(
            log.perform(.updateMetadata(key(1), timestamp: 6, baseDataTimestamp: 4, metadata: bytes("")))
                == .baseMismatch(newest: 5))
        #expect(log.perform(.delete(key(1), timestamp: 5)).isStored)
        #expect(log.put(1, at: 5) == .superseded(newest: 5))
        #expect(log.perform(conditional).isStored)
        let long = Row(name: [UInt8](repeating: 97, count: 2000), timestamp: 1)
        #expect(log.perform(.row(table(1), long)) == .failed(.tooLarge))
        #expect(log.perform(.tableInfo(table(1), transform: { _, _ in .refuse(code: 7) })) == .refused(code: 7))
    }

    @Test func theQueueHasALimit() throws {
        var configuration = Configuration.test
        configuration.maximumQueuedWrites = 3
        let log = try DeviceLog.open(
            directory: "/other", identity: testIdentity, fileSystem: MemoryFileSystem(), configuration: configuration,
            logger: quietLogger)
        let answers = Answers()
        for number in 0..<4 as Range<UInt64> { log.submit(.delete(key(number), timestamp: 1), completion: answers) }
        #expect(answers.outcomes == [.failed(.busy)])
        log.commitOnce()
        #expect(answers.outcomes.count == 4)
        log.close()
        #expect(log.put(1, at: 1) == .failed(.closed))
    }
}

extension WriteOutcome {
    func confirm(_ log: DeviceLog) {
        if case .stored(let position) = self { log.confirm(position) }
    }
}
