import Foundation
import NIOCore
import Testing

@testable import DeviceLog

/// Bits that flip, indexes that are lost, disks that are full or fail.
struct DamageTests {
    private static func open(
        _ fileSystem: any FileSystem, _ index: MemoryIndex, _ configuration: Configuration = .test
    ) throws -> DeviceLog {
        try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger, index: index)
    }

    /// Every bit position of some, and some bit of every byte: what is read afterwards is what was written, or an
    /// error.
    @Test(arguments: [true, false]) func aFlippedBitIsNeverServed(indexIsLost: Bool) throws {
        var random = SeededGenerator(seed: 5)
        for round in 0..<1200 {
            let fileSystem = FaultyFileSystem(seed: 1)
            let index = MemoryIndex()
            let log = try Self.open(fileSystem, index)
            for number in 0..<4 as Range<UInt64> { log.put(number, at: 10, "body \(number)") }
            #expect(log.perform(.row(table(0), Row(name: [97], timestamp: 1, value: bytes("value")))).isStored)
            #expect(
                log.perform(.updateMetadata(key(0), timestamp: 11, baseDataTimestamp: 10, metadata: bytes("new")))
                    .isStored)
            log.close()

            let segment = try #require(fileSystem.contents().first { $0.path.hasSuffix(".segment") })
            let offset =
                round < 1000 ? round * segment.length / 1000 : Int.random(in: 256..<segment.length, using: &random)
            let bit = Int.random(in: 0..<8, using: &random)
            #expect(fileSystem.flipBit(segment.path, at: offset, bit: bit))
            let again = try Self.open(fileSystem, indexIsLost ? MemoryIndex() : index)
            for number in 0..<4 as Range<UInt64> { try Self.check(again, number, "offset \(offset), bit \(bit)") }
            let names = try again.names(table(0))
            #expect(names == ["a"] || again.statistics().unidentifiedLosses > 0, "offset \(offset), bit \(bit)")
        }
    }

    private static func check(_ log: DeviceLog, _ number: UInt64, _ place: String) throws {
        switch log.result(number) {
        case .success(.live(let object)):
            #expect(object.body.text == "body \(number)", "\(place)")
            // When the update is lost with its name, an older version is left, and the device says that it lost
            // something.
            let isOlder = String(buffer: object.metadata) == "meta" && log.statistics().unidentifiedLosses > 0
            #expect(String(buffer: object.metadata) == (number == 0 ? "new" : "meta") || isOlder, "\(place)")
        case .success:
            Issue.record("object \(number) is absent: \(place)")
        case .failure(.corrupt):
            // Found; from now on it is in quarantine, until it is repaired.
            while log.commitOnce() {}
            #expect(throws: DeviceLogError.quarantined) { try log.object(key(number), mayBlock: true) }
            #expect(try log.version(of: key(number)).kind == .quarantined)
            #expect(log.put(number, at: 11, "repaired").isStored)
            #expect(try log.text(number) == "repaired")
        case .failure(let error):
            #expect(error == .quarantined && log.statistics().unidentifiedLosses > 0, "\(place)")
        }
    }

    @Test func aFlippedBitInABlobIsNeverServed() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        var configuration = Configuration.test
        configuration.blobBlock = 4096
        let log = try Self.open(fileSystem, MemoryIndex(), configuration)
        let blob = try log.stageBlob(expectedLength: nil)
        try blob.append(ByteBuffer(repeating: 5, count: 20_000))
        try blob.seal()
        #expect(log.perform(.put(key(1), timestamp: 1, metadata: bytes(""), body: .blob(blob))).isStored)
        let file = try #require(fileSystem.contents().first { $0.path.contains("/blobs/") })
        #expect(fileSystem.flipBit(file.path, at: 9000, bit: 3))
        guard case .live(let object) = try log.object(key(1), mayBlock: true), case .blob(let reader) = object.body
        else {
            Issue.record("no blob")
            return
        }
        #expect(try reader.read(offset: 0, length: 8192, mayBlock: true).readableBytes == 8192)
        #expect(throws: DeviceLogError.corrupt) { try reader.read(offset: 8000, length: 500, mayBlock: true) }
        log.commitOnce()
        #expect(throws: DeviceLogError.quarantined) { try log.object(key(1), mayBlock: true) }
    }

    @Test func blobsWithoutARecordAreSwept() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        func files() -> Int { fileSystem.contents().filter { $0.path.contains("/blobs/") }.count }
        let log = try Self.open(fileSystem, MemoryIndex())
        func stage() throws -> StagedBlob {
            let blob = try log.stageBlob(expectedLength: nil)
            try blob.append(ByteBuffer(repeating: 5, count: 20_000))
            try blob.seal()
            return blob
        }
        #expect(log.perform(.put(key(1), timestamp: 1, metadata: bytes(""), body: .blob(try stage()))).isStored)
        #expect(log.perform(.put(key(1), timestamp: 2, metadata: bytes(""), body: .blob(try stage()))).isStored)
        #expect(files() == 1)
        #expect(
            log.perform(.put(key(1), timestamp: 1, metadata: bytes(""), body: .blob(try stage())))
                == .superseded(newest: 2))
        #expect(files() == 1)
        let left = try stage()
        #expect(files() == 2)
        fileSystem.losePower()
        let again = try Self.open(fileSystem, MemoryIndex())
        #expect(files() == 1)
        #expect(try again.text(1) == "blob")
        #expect(again.perform(.delete(key(1), timestamp: 3)).isStored)
        #expect(files() == 0)
        left.discard()
    }

    @Test func aFullDiskStillDeletes() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let log = try Self.open(fileSystem, MemoryIndex())
        fileSystem.plan.capacity = 40_000
        var stored: [UInt64] = []
        var number: UInt64 = 0
        while true {
            let outcome = log.put(number, at: 10, String(repeating: "x", count: 1000))
            if outcome == .failed(.full) { break }
            #expect(outcome.isStored)
            stored.append(number)
            number += 1
            try #require(number < 100)
        }
        fileSystem.plan.capacity = 60_000
        for number in stored { #expect(try log.text(number)?.count == 1000) }
        #expect(log.perform(.delete(key(0), timestamp: 11)).isStored)
        #expect(log.put(100, at: 10).isStored)
        fileSystem.losePower()
        let again = try Self.open(fileSystem, MemoryIndex())
        for number in stored.dropFirst() { #expect(try again.text(number)?.count == 1000) }
        #expect(try again.version(of: key(0)).kind == .tombstone)
    }

    @Test func theReserveIsForDeletes() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        var configuration = Configuration.test
        configuration.reserve = 1 << 20
        let log = try Self.open(fileSystem, MemoryIndex(), configuration)
        #expect(log.put(1, at: 10).isStored)
        fileSystem.plan.capacity = 1 << 20
        #expect(log.put(2, at: 10) == .failed(.full))
        #expect(log.perform(.row(table(1), Row(name: [97], timestamp: 1))) == .failed(.full))
        #expect(log.perform(.row(table(1), Row(name: [97], timestamp: 1, deleted: true))).isStored)
        #expect(log.perform(.delete(key(1), timestamp: 11)).isStored)
        #expect(throws: DeviceLogError.full) { try log.stageBlob(expectedLength: nil) }
        #expect(log.statistics().isFull)
    }

    @Test func aFailedSyncStopsAllWrites() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = MemoryIndex()
        let log = try Self.open(fileSystem, index)
        #expect(log.put(1, at: 10, "one").isStored)
        fileSystem.plan.syncsUntilFailure = 1
        #expect(log.put(2, at: 10) == .failed(.io(errno: EIO)))
        #expect(log.put(3, at: 10) == .failed(.io(errno: EIO)))
        #expect(log.statistics().isReadOnly)
        #expect(try log.text(1) == "one")
        #expect(try log.version(of: key(2)) == .absent)
        fileSystem.plan.syncsUntilFailure = nil
        fileSystem.losePower()
        #expect(try Self.open(fileSystem, index).text(1) == "one")
    }

    @Test func anIndexThatLostAnEntryIsFoundAndRebuilt() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = MemoryIndex()
        let log = try Self.open(fileSystem, index)
        for number in 0..<9 as Range<UInt64> { #expect(log.put(number, at: 10).isStored) }
        #expect(try log.verifyIndex())
        log.close()
        var contents = index.snapshot
        contents.objects[key(4)] = nil
        let damaged = MemoryIndex(contents)
        let second = try Self.open(fileSystem, damaged)
        #expect(try !second.verifyIndex())
        second.close()
        let third = try Self.open(fileSystem, damaged)
        #expect(try third.text(4) == "body")
        #expect(try third.verifyIndex())
    }

    @Test(arguments: ["manifest", "1.run"], ["removed", "truncated", "garbage", "flipped"])
    func aLostIndexIsRebuilt(name: String, damage: String) throws {
        let directory = TemporaryDirectory()
        func open() throws -> DeviceLog {
            try DeviceLog.open(
                directory: directory.path, identity: testIdentity, configuration: .test, logger: quietLogger)
        }
        /// Ends without `close`.
        func findDamage() throws {
            let log = try open()
            guard name != "manifest" else { return }
            #expect(throws: DeviceLogError.corrupt) { try log.verifyIndex() }
            log.tidyIndex()
        }
        let log = try open()
        for number in 0..<100 as Range<UInt64> { #expect(log.put(number, at: 10, "body \(number)").isStored) }
        #expect(log.perform(.row(table(1), Row(name: [97], timestamp: 1, bytes: 3))).isStored)
        #expect(log.perform(.pending(payload: bytes("later"))).isStored)
        #expect(log.perform(.pending(payload: bytes("done"))).isStored)
        #expect(log.perform(.pendingDone(id: 2)).isStored)
        let digest = log.digest(policy: 0, buckets: 0..<65536)
        log.close()
        let file = URL(fileURLWithPath: directory.path + "/index/\(name)")
        var content = try Data(contentsOf: file)
        switch damage {
        case "removed": try FileManager.default.removeItem(at: file)
        case "truncated": try content.prefix(content.count / 2).write(to: file)
        case "flipped":
            // In the first block of a run, which a start does not read.
            content[20] ^= 4
            try content.write(to: file)
            try findDamage()
        default: try Data(repeating: 0xAB, count: 50_000).write(to: file)
        }
        let again = try open()
        #expect(try again.verifyIndex())
        for number in 0..<100 as Range<UInt64> { #expect(try again.text(number) == "body \(number)") }
        #expect(try again.names(table(1)) == ["a"])
        #expect(try again.tableInfo(table(1)).stats.total.bytes == 3)
        #expect(again.digest(policy: 0, buckets: 0..<65536) == digest)
        #expect(try again.pendingUpdates(limit: 9).map { String(buffer: $0.payload) } == ["later"])
        again.close()
    }
}

extension StoredBody {
    var text: String {
        switch self {
        case .inline(let bytes): String(buffer: bytes)
        case .blob: "blob"
        }
    }
}

extension DeviceLog {
    func result(_ number: UInt64) -> Result<ObjectState, DeviceLogError> {
        do throws(DeviceLogError) {
            return .success(try object(key(number), mayBlock: true))
        } catch {
            return .failure(error)
        }
    }
}
