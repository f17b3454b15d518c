import Foundation
import NIOCore
import Synchronization
import Testing

@testable import DeviceLog

/// The audit finds every damage, acts on it, and finds nothing else.
struct AuditTests {
    private static func open(
        _ fileSystem: any FileSystem, _ index: MemoryIndex, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> DeviceLog {
        var configuration = Configuration.test
        configuration.blobBlock = 4096
        change(&configuration)
        return try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger, index: index)
    }

    private static func audit(_ log: DeviceLog) throws -> [DeviceDamage] {
        var found: [DeviceDamage] = []
        #expect(try DeviceAudit(log, advance: { _, _ in true }, found: { found.append($0) }).run())
        if case .manual = log.configuration.driver { while log.commitOnce() {} }
        return found
    }

    /// Of everything something: objects 0 to 4 (0 with newer metadata, 3 deleted, 4 a blob), rows, a table, a waiting update.
    private static func fill(_ log: DeviceLog) throws {
        for number in 0..<4 as Range<UInt64> { log.put(number, at: 10, "body \(number)") }
        #expect(
            log.perform(.updateMetadata(key(0), timestamp: 11, baseDataTimestamp: 10, metadata: bytes("new"))).isStored)
        #expect(log.perform(.delete(key(3), timestamp: 12, metadata: bytes("row"))).isStored)
        let blob = try log.stageBlob(expectedLength: nil)
        try blob.append(ByteBuffer(repeating: 5, count: 20_000))
        try blob.seal()
        #expect(log.perform(.put(key(4), timestamp: 10, metadata: bytes("meta"), body: .blob(blob))).isStored)
        for name in ["a", "b"] {
            let row = Row(name: Array(name.utf8), timestamp: 1, bytes: 3, value: bytes("value"))
            #expect(log.perform(.row(table(0), row)).isStored)
        }
        #expect(log.perform(.row(table(0), Row(name: [98], timestamp: 2, deleted: true))).isStored)
        #expect(log.perform(.tableInfo(table(0)) { _, _ in .replace(bytes("info")) }).isStored)
        #expect(log.perform(.pending(payload: bytes("later"))).isStored)
    }

    private static func check(_ log: DeviceLog, except damaged: ObjectKey? = nil, _ place: String) throws {
        for number in 0..<3 as Range<UInt64> where key(number) != damaged {
            #expect(try log.text(number) == "body \(number)", "\(place)")
        }
        #expect(try log.version(of: key(3)).kind == .tombstone, "\(place)")
        if key(4) != damaged { #expect(try log.text(4) == "blob", "\(place)") }
        #expect(try log.names(table(0)) == ["a"], "\(place)")
        #expect(try log.tableInfo(table(0)).info == bytes("info"), "\(place)")
        #expect(try log.pendingUpdates(limit: 9).map { String(buffer: $0.payload) } == ["later"], "\(place)")
    }

    /// Records that count, by what is read of them.
    private static func inUse(_ index: MemoryIndex) -> [RecordLocation: ObjectKey?] {
        var records: [RecordLocation: ObjectKey?] = [:]
        let contents = index.snapshot
        for (key, entry) in contents.objects {
            records[entry.record] = .some(entry.kind == .live ? key : nil)
            if entry.data.length > 0 { records[entry.data] = .some(key) }
        }
        for rows in contents.rows.values { for row in rows.values { records[row.record] = .some(nil) } }
        for state in contents.tables.values { records[state.infoRecord] = .some(nil) }
        for entry in contents.pending.values { records[entry.record] = .some(nil) }
        return records
    }

    /// Places all over the log, in records and between them, in what counts and in garbage.
    @Test(arguments: [true, false]) func everyFlippedBitInTheLogIsFound(isFlushed: Bool) throws {
        var random = SeededGenerator(seed: 9)
        // What is there before an audit writes anything.
        let before = MemoryIndex()
        let twin = try Self.open(FaultyFileSystem(seed: 1), before)
        try Self.fill(twin)
        try twin.flushIndex()
        let records = Self.inUse(before)
        for round in 0..<40 {
            let fileSystem = FaultyFileSystem(seed: 1)
            let index = MemoryIndex()
            let log = try Self.open(fileSystem, index)
            try Self.fill(log)
            if isFlushed { try log.flushIndex() }
            let segment = try #require(fileSystem.contents().first { $0.path.hasSuffix(".segment") })
            let offset = round < 25 ? round * segment.length / 25 : Int.random(in: 256..<segment.length, using: &random)
            let bit = Int.random(in: 0..<8, using: &random)
            let place = "offset \(offset), bit \(bit)"
            #expect(try Self.audit(log).isEmpty)
            #expect(fileSystem.flipBit(segment.path, at: offset, bit: bit))
            let found = try Self.audit(log)
            #expect(try Self.audit(log).isEmpty, "\(place): found twice")

            let hit = records.first { record, _ in
                offset >= Int(record.offset) && offset < Int(record.offset) + Int(record.length)
            }
            guard let (record, owner) = hit else {
                #expect(found.isEmpty, "\(place)")
                try Self.check(log, place)
                continue
            }
            if found.isEmpty {
                // Only the bytes that fill a record up to a multiple of 8 belong to no checksum.
                #expect(offset >= Int(record.offset + record.length) - 7, "\(place)")
                continue
            }
            guard let owner else {
                #expect(found == [.restored(record.position)], "\(place)")
                try Self.check(log, place)
                log.close()
                // A rebuild finds what was written again.
                try Self.check(try Self.open(fileSystem, MemoryIndex()), place)
                continue
            }
            #expect(found == [.object(owner)], "\(place)")
            #expect(try log.version(of: owner).kind == .quarantined, "\(place)")
            try Self.check(log, except: owner, place)
        }
    }

    @Test func everyFlippedBitInABodyIsFound() throws {
        for offset in stride(from: 0, to: 20_000, by: 613) {
            let fileSystem = FaultyFileSystem(seed: 1)
            let log = try Self.open(fileSystem, MemoryIndex())
            try Self.fill(log)
            let file = try #require(fileSystem.contents().first { $0.path.contains("/blobs/") })
            #expect(fileSystem.flipBit(file.path, at: offset, bit: offset % 8))
            #expect(try Self.audit(log) == [.object(key(4))])
            #expect(try log.version(of: key(4)).kind == .quarantined)
            try Self.check(log, except: key(4), "offset \(offset)")
            #expect(try Self.audit(log).isEmpty)
        }
    }

    @Test func lostFilesAreFound() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let log = try Self.open(fileSystem, MemoryIndex()) { $0.segmentSize = 8 << 10 }
        try Self.fill(log)
        let blob = try #require(fileSystem.contents().first { $0.path.contains("/blobs/") })
        try fileSystem.remove(blob.path)
        #expect(try Self.audit(log) == [.object(key(4))])
        for number in 100..<140 as Range<UInt64> { log.put(number, at: 1, String(repeating: "x", count: 500)) }
        let segment = try #require(fileSystem.contents().first { $0.path.hasSuffix(".segment") })
        try fileSystem.remove(segment.path)
        let found = try Self.audit(log)
        for number in [0, 1, 2] as [UInt64] { #expect(found.contains(.object(key(number)))) }
        #expect(found.contains { if case .restored = $0 { true } else { false } })
        #expect(try log.names(table(0)) == ["a"])
        #expect(try Self.audit(log).isEmpty)
    }

    /// More damage than is held at once.
    @Test(arguments: [true, false]) func manyAreLookedUpInPortions(isFlushed: Bool) throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let log = try Self.open(fileSystem, MemoryIndex())
        for number in 0..<50 as Range<UInt64> {
            #expect(log.put(number, at: 1, "body").isStored)
            let row = Row(name: Array("\(number)".utf8), timestamp: 1, value: bytes("v"))
            #expect(log.perform(.row(table(1), row)).isStored)
        }
        if isFlushed { try log.flushIndex() }
        let segment = try #require(fileSystem.contents().first { $0.path.hasSuffix(".segment") })
        for offset in stride(from: 256, to: segment.length, by: 8) {
            _ = fileSystem.flipBit(segment.path, at: offset, bit: 1)
        }
        var found: [DeviceDamage] = []
        let audit = DeviceAudit(log, advance: { _, _ in true }, found: { found.append($0) })
        audit.maximumReferences = 7
        #expect(try audit.run())
        #expect(found.count == 100)
        for number in 0..<50 as Range<UInt64> { #expect(found.contains(.object(key(number)))) }
        while log.commitOnce() {}
        #expect(log.statistics().quarantined == 50)
        #expect(try log.names(table(1)).count == 50)
        #expect(try audit.run() && found.count == 100)
    }

    /// What a device remembers of its last records must not hide what is on the disk.
    @Test func memoryHidesNothing() throws {
        let directory = TemporaryDirectory()
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.reserve = 0
        let log = try DeviceLog.open(
            directory: directory.path, identity: testIdentity, configuration: configuration, logger: quietLogger)
        defer { log.close() }
        // The second segment lies ready as zeros, and is written past the page cache.
        for number in 0..<30 as Range<UInt64> {
            log.put(number, at: 1, String(repeating: "\(number % 10)", count: 50_000))
        }
        #expect(try Self.audit(log).isEmpty)
        guard case .stored(let position) = log.put(77, at: 1, String(repeating: "y", count: 5000)) else {
            throw DeviceLogError.closed
        }
        let name = String(position.segment, radix: 16)
        let path = "\(directory.path)/log/\(String(repeating: "0", count: 8 - name.count))\(name).segment"
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: UInt64(position.offset) + 1000)
        try file.write(contentsOf: Data([7]))
        try file.close()
        #expect(throws: DeviceLogError.corrupt) { try log.verify(key(77)) }
        while log.statistics().quarantined == 0 {}
        #expect(throws: DeviceLogError.quarantined) { try log.verify(key(77)) }
        guard case .live = try log.verify(key(3)) else {
            Issue.record("object 3 is gone")
            return
        }
        #expect(try Self.audit(log).isEmpty)
    }

    @Test func whatTheDiskCannotReadIsDamage() throws {
        let fileSystem = HookedFileSystem()
        let log = try Self.open(fileSystem, MemoryIndex())
        for number in 0..<40 as Range<UInt64> { log.put(number, at: 1, String(repeating: "x", count: 1000)) }
        fileSystem.onRead { path, offset, count in
            let bad: Int64 = 8192
            return path.hasSuffix(".segment") && offset <= bad && offset + Int64(count) > bad ? EIO : nil
        }
        let found = try Self.audit(log)
        #expect(!found.isEmpty && found.count < 10)
        #expect(log.statistics().quarantined == Int64(found.count))
        #expect(try Self.audit(log).isEmpty)
    }

    @Test(arguments: [20, 2000, -30, -3]) func damageInTheIndexIsNoted(place: Int) throws {
        let directory = TemporaryDirectory()
        func open() throws -> DeviceLog {
            try DeviceLog.open(
                directory: directory.path, identity: testIdentity, configuration: .test, logger: quietLogger)
        }
        let log = try open()
        for number in 0..<200 as Range<UInt64> { log.put(number, at: 10, "body \(number)") }
        try log.flushIndex()
        #expect(try Self.audit(log).isEmpty)
        let file = try #require(FileHandle(forUpdatingAtPath: directory.path + "/index/1.run"))
        let offset = place < 0 ? try file.seekToEnd() - UInt64(-place) : UInt64(place)
        try file.seek(toOffset: offset)
        let old = try #require(try file.read(upToCount: 1))
        try file.seek(toOffset: offset)
        try file.write(contentsOf: Data([old[0] ^ 4]))
        try file.close()
        #expect(try Self.audit(log) == [.index(run: 1)])
        #expect(try Self.audit(log).isEmpty)
        log.tidyIndex()
        log.close()
        let again = try open()
        for number in 0..<200 as Range<UInt64> { #expect(try again.text(number) == "body \(number)") }
        #expect(try Self.audit(again).isEmpty)
        again.close()
    }

    @Test func aPassEndsWhenItIsTold() throws {
        let log = try Self.open(FaultyFileSystem(seed: 1), MemoryIndex())
        try Self.fill(log)
        var calls = 0
        let audit = DeviceAudit(
            log,
            advance: { _, _ in
                calls += 1
                return false
            }, found: { _ in Issue.record("damage on a sound device") })
        #expect(try !audit.run())
        #expect(calls == 1)
        #expect(try audit.size() > 0)
    }

    /// Writes, deletes, metadata, rows and compaction go on while one pass follows the other.
    @Test(arguments: [("memory", 400), ("disk", 100)])
    func aSoundDeviceGivesNoFindings(place: String, changes: Int) throws {
        let directory = TemporaryDirectory()
        let fileSystem: any FileSystem = place == "disk" ? POSIXFileSystem() : MemoryFileSystem()
        var configuration = Configuration()
        configuration.segmentSize = 128 << 10
        configuration.memoryEntries = 200
        configuration.maximumInlineBody = 20_000
        configuration.compactionPeriod = .milliseconds(20)
        configuration.reserve = 0
        let log = try DeviceLog.open(
            directory: directory.path, identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger)
        let isOver = Mutex(false)
        let passes = Mutex(0)
        let finished = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while !isOver.withLock({ $0 }) {
                do {
                    let found = try Self.audit(log)
                    #expect(found.isEmpty)
                } catch {
                    Issue.record("\(error)")
                }
                passes.withLock { $0 += 1 }
            }
            finished.signal()
        }
        var random = SeededGenerator(seed: 4)
        var timestamp: UInt64 = 1
        while passes.withLock({ $0 }) < 4 || timestamp < changes {
            timestamp += 1
            try Self.change(log, timestamp, &random)
        }
        isOver.withLock { $0 = true }
        finished.wait()
        #expect(log.statistics().quarantined == 0)
        log.close()
    }

    private static func change(_ log: DeviceLog, _ timestamp: UInt64, _ random: inout SeededGenerator) throws {
        let number = UInt64.random(in: 0..<60, using: &random)
        let size = Int.random(in: 0..<3000, using: &random)
        let outcome: WriteOutcome
        switch Int.random(in: 0..<10, using: &random) {
        case 0: outcome = log.perform(.delete(key(number), timestamp: timestamp))
        case 1:
            let blob = try log.stageBlob(expectedLength: nil)
            try blob.append(ByteBuffer(repeating: 5, count: 20_000 + size * 4))
            try blob.seal()
            outcome = log.perform(.put(key(number), timestamp: timestamp, metadata: bytes("m"), body: .blob(blob)))
        case 2:
            outcome = log.perform(
                .row(table(1), Row(name: Array("\(number)".utf8), timestamp: timestamp, value: bytes("v"))))
        case 3:
            guard case .live(let object) = try log.object(key(number), mayBlock: true) else { return }
            outcome = log.perform(
                .updateMetadata(
                    key(number), timestamp: timestamp, baseDataTimestamp: object.dataTimestamp, metadata: bytes("n")))
        default: outcome = log.put(number, at: timestamp, String(repeating: "x", count: size))
        }
        if case .stored(let position) = outcome { log.confirm(position) }
    }
}
