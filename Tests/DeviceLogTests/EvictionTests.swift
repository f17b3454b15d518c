import Foundation
import NIOCore
import Testing

@testable import DeviceLog

/// What replicators write: records of other replicas, and the giving up of what was given away.
struct EvictionTests {
    private let directory = TemporaryDirectory()

    private func open() throws -> DeviceLog {
        try DeviceLog.open(directory: directory.path, identity: testIdentity, configuration: .test, logger: quietLogger)
    }

    private func rebuilt(_ log: DeviceLog) throws -> DeviceLog {
        log.close()
        try FileManager.default.removeItem(atPath: directory.path + "/index")
        return try open()
    }

    private func restore(
        _ log: DeviceLog, _ number: UInt64, at timestamp: UInt64, data: UInt64, _ text: String
    ) -> WriteOutcome {
        log.perform(
            .restore(
                key(number), timestamp: timestamp, dataTimestamp: data, metadata: bytes("restored"),
                body: .inline(bytes(text))))
    }

    @Test func whatIsEvictedIsGoneAlsoAfterARebuild() throws {
        var log = try open()
        #expect(log.put(1, at: 10).isStored)
        #expect(log.put(2, at: 10).isStored)
        #expect(log.perform(.delete(key(2), timestamp: 20)).isStored)
        #expect(log.put(3, at: 10).isStored)
        let digest = log.digest(policy: 0, buckets: 0..<65536)
        #expect(log.perform(.evict(key(1), timestamp: 9)) == .missing)
        #expect(log.perform(.evict(key(1), timestamp: 10)).isStored)
        #expect(log.perform(.evict(key(1), timestamp: 10)) == .missing)
        #expect(log.perform(.evict(key(2), timestamp: 20)).isStored)
        #expect(log.digest(policy: 0, buckets: 0..<65536) != digest)
        for _ in 0..<2 {
            #expect(try log.version(of: key(1)) == .absent)
            #expect(try log.version(of: key(2)) == .absent)
            #expect(try log.text(3) == "body")
            #expect(log.statistics().objects == 1)
            #expect(log.statistics().tombstones == 0)
            log = try rebuilt(log)
        }
        log.close()
    }

    @Test func whatWasEvictedMayComeBackAtItsOwnTimeButNotOlder() throws {
        var log = try open()
        #expect(log.put(1, at: 10, "first").isStored)
        #expect(log.perform(.evict(key(1), timestamp: 10)).isStored)
        #expect(log.put(1, at: 9, "older") == .superseded(newest: 10))
        #expect(
            log.perform(.updateMetadata(key(1), timestamp: 11, baseDataTimestamp: 10, metadata: bytes("m"))) == .missing
        )
        #expect(restore(log, 1, at: 10, data: 10, "again").isStored)
        #expect(log.perform(.evict(key(1), timestamp: 10)).isStored)
        let absent = Write.put(
            key(1), timestamp: 12, metadata: bytes("m"), body: .inline(bytes("new")), condition: .ifAbsent)
        #expect(log.perform(absent).isStored)
        for _ in 0..<2 {
            #expect(try log.text(1) == "new")
            log = try rebuilt(log)
        }
        log.close()
    }

    @Test func aRestoredRecordHasItsTwoTimes() throws {
        var log = try open()
        #expect(restore(log, 1, at: 12, data: 10, "body").isStored)
        #expect(restore(log, 1, at: 12, data: 10, "body").isStored)
        #expect(restore(log, 1, at: 11, data: 10, "older") == .superseded(newest: 12))
        for _ in 0..<2 {
            #expect(try log.version(of: key(1)) == ObjectVersion(kind: .live, timestamp: 12, dataTimestamp: 10))
            #expect(try log.text(1) == "body")
            log = try rebuilt(log)
        }
        #expect(
            log.perform(.updateMetadata(key(1), timestamp: 15, baseDataTimestamp: 10, metadata: bytes("m"))).isStored)
        #expect(try log.text(1) == "body")
        log.close()
    }

    @Test func evictionsSurviveCompaction() throws {
        var configuration = Configuration.test
        configuration.compactionGarbage = 0.1
        var log = try DeviceLog.open(
            directory: directory.path, identity: testIdentity, configuration: configuration, logger: quietLogger)
        let text = String(repeating: "x", count: 4000)
        for number in 0..<100 as Range<UInt64> { #expect(log.put(number, at: 10, text).isStored) }
        for number in 0..<50 as Range<UInt64> { #expect(log.perform(.evict(key(number), timestamp: 10)).isStored) }
        for number in 100..<150 as Range<UInt64> { #expect(log.put(number, at: 10, text).isStored) }
        while try log.compact() {}
        log = try rebuilt(log)
        for number in 0..<150 as Range<UInt64> {
            #expect(try log.version(of: key(number)).kind == (number < 50 ? .absent : .live), "\(number)")
        }
        log.close()
    }
}
