import NIOCore
import Ring
import Testing

@testable import DeviceLog

/// In which partitions a device is behind.
struct StandingTests {
    private func open(_ files: any FileSystem, isNewcomer: Bool = false) throws -> DeviceLog {
        try DeviceLog.open(
            directory: "/device", identity: testIdentity, isNewcomer: isNewcomer, fileSystem: files,
            configuration: .test, logger: quietLogger)
    }

    private func hash(_ partition: UInt64, partPower: UInt64 = 4) -> PathHash {
        PathHash(high: partition << (64 - partPower), low: 7)
    }

    @Test func aDeviceOfANewClusterIsBehindNowhere() throws {
        let log = try open(MemoryFileSystem())
        #expect(!log.isBehind)
        #expect(log.standing(.objects(0), hash(3)) == .full)
        log.close()
    }

    @Test func aNewcomerIsBehindUntilItCaughtUp() throws {
        let files = MemoryFileSystem()
        var log = try open(files, isNewcomer: true)
        #expect(log.standing(.objects(0), hash(3)) == .behind(source: nil))
        #expect(log.standing(.accounts, hash(3)) == .behind(source: nil))
        try log.place(.objects(0), partPower: 4, new: [:], all: [3, 5])
        try log.place(.accounts, partPower: 4, new: [:], all: [])
        try log.placed()
        log.close()
        log = try open(files, isNewcomer: true)
        #expect(log.standing(.objects(0), hash(3)) == .behind(source: nil))
        #expect(log.standing(.objects(0), hash(4)) == .full)
        #expect(log.standing(.objects(1), hash(3)) == .full)
        #expect(log.standing(.accounts, hash(3)) == .full)
        try log.caughtUp(.objects(0), [3])
        #expect(log.behind(.objects(0)) == [5: nil])
        log.close()
        log = try open(files)
        #expect(log.behind(.objects(0)) == [5: nil])
        // It belongs to 6 since now, and no more to 5.
        try log.place(.objects(0), partPower: 4, new: [6: 9], all: [3, 6])
        #expect(log.behind(.objects(0)) == [6: 9])
        try log.caughtUp(.objects(0), [6])
        #expect(!log.isBehind)
        log.close()
    }

    /// Wherever the power fails while a newcomer is opened and placed, it never counts as one that has everything.
    @Test func aCrashForgetsNothing() throws {
        for seed in 0..<60 as Range<UInt64> {
            let files = FaultyFileSystem(seed: seed)
            files.plan.operationsUntilCrash = Int(seed) / 2 + 1
            if let log = try? open(files, isNewcomer: true) {
                try? log.place(.objects(0), partPower: 4, new: [:], all: [3])
                try? log.placed()
                log.close()
            }
            files.losePower()
            let log = try open(files, isNewcomer: true)
            #expect(log.standing(.objects(0), hash(3)) == .behind(source: nil), "seed \(seed)")
            log.close()
        }
    }

    @Test func aDamagedFileIsRefused() throws {
        let files = FaultyFileSystem(seed: 1)
        try open(files, isNewcomer: true).close()
        #expect(files.flipBit("/device/behind", at: 9, bit: 1))
        #expect(throws: DeviceLogError.self) { try open(files) }
    }
}
