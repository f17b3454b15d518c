import Foundation
import Glibc
import NIOCore
import Ring
import Synchronization
import Testing

@testable import DeviceLog

/// The index when disks fail, processes end and bytes are wrong.
struct RunIndexFaultTests {
    static let directory = "/device/index"

    static func open(_ fileSystem: any FileSystem, smallest: Int64 = 1 << 20) throws -> RunIndex {
        try RunIndex(directory: directory, fileSystem: fileSystem, policy: MergePolicy(smallest: smallest))
    }

    static func openDevice(_ fileSystem: any FileSystem, _ configuration: Configuration = .test) throws -> DeviceLog {
        try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger)
    }

    static func changes(_ numbers: Range<UInt64>, at timestamp: UInt64) -> IndexChanges {
        let layer = MemoryLayer(rows: 64, firstPending: .max)
        for number in numbers {
            layer.objects[key(number)] = ObjectEntry(
                kind: .live, timestamp: timestamp, dataTimestamp: timestamp,
                record: RecordLocation(segment: 1, offset: UInt32(timestamp), length: 5), data: .none, blob: 0)
        }
        return IndexChanges(layer: layer, digests: [], state: IndexState(batch: timestamp))
    }

    static func row(_ layer: MemoryLayer, _ name: [UInt8], _ kind: StoredRow.Kind, _ time: UInt64, hides: Bool) {
        layer.setRow(
            table(1), name,
            StoredRow(
                timestamp: time, kind: kind, bucket: 0, bytes: 1, count: 1,
                record: RecordLocation(segment: 1, offset: UInt32(time), length: 5), value: [1]),
            hash: name.withUnsafeBytes { MemoryLayer.hash(table(1), $0) }, hidesOther: hides)
    }

    @Test func aFlushThatFailsDoesNotSpinAndCloseReturns() throws {
        let fileSystem = HookedFileSystem()
        var configuration = Configuration.test
        configuration.driver = .threads
        let log = try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
            logger: quietLogger)
        let counter = Counter()
        fileSystem.onOpen { path, mode in
            guard path.contains("/index/"), case .create = mode else { return nil }
            counter.add()
            return ENOSPC
        }
        for number in 0..<10 as Range<UInt64> { #expect(log.put(number, at: 10).isStored) }
        try log.flushIndex()
        Thread.sleep(forTimeInterval: 3)
        let before = counter.value
        #expect(before < 20, "\(before) attempts to flush in three seconds")
        let closed = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            log.close()
            closed.signal()
        }
        let isClosed = closed.wait(timeout: .now() + 5) == .success
        #expect(isClosed, "close hangs")
        fileSystem.onOpen(nil)
        if !isClosed { #expect(closed.wait(timeout: .now() + 20) == .success) }
    }

    @Test func aShorterManifestAfterAFailedOneIsReadable() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = try Self.open(fileSystem)
        for step in 1...9 as ClosedRange<UInt64> { try index.apply(Self.changes(0..<20, at: step)) }
        // The run is synced, the manifest is not.
        fileSystem.plan.syncsUntilFailure = 2
        #expect(throws: DeviceLogError.io(errno: EIO)) { try index.apply(Self.changes(0..<20, at: 10)) }
        fileSystem.plan.syncsUntilFailure = nil
        // Merges: the manifest is shorter now.
        try index.tidy { false }
        fileSystem.losePower()
        let again = try Self.open(fileSystem)
        #expect(try again.object(key(1))?.timestamp == 9)
    }

    @Test func damageInTheFirstBlockOfARunStopsNoFlush() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = try Self.open(fileSystem)
        try index.apply(Self.changes(0..<200, at: 1))
        #expect(fileSystem.flipBit("\(Self.directory)/1.run", at: 20, bit: 2))
        var failures = 0
        for step in 2...40 as ClosedRange<UInt64> {
            do { try index.apply(Self.changes(1000..<1010, at: step)) } catch { failures += 1 }
            try? index.tidy { false }
        }
        #expect(index.isDamaged, "the merge found it and said nothing")
        #expect(failures == 0, "\(failures) flushes of 39 failed")
    }

    @Test func aSectorThatCannotBeReadDoesNotKeepTheDeviceDown() throws {
        let fileSystem = HookedFileSystem()
        var configuration = Configuration.test
        configuration.memoryEntries = 64
        func open() throws -> DeviceLog {
            try DeviceLog.open(
                directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
                logger: quietLogger)
        }
        var log = try open()
        for number in 0..<64 as Range<UInt64> { #expect(log.put(number, at: 10).isStored) }
        let run = try #require(
            fileSystem.list("/device/index").first { $0.hasSuffix(".run") })
        fileSystem.onRead { path, offset, _ in path.hasSuffix("/index/\(run)") && offset == 0 ? EIO : nil }
        var stored = 0
        for number in 1000..<4000 as Range<UInt64> where log.put(number, at: 20).isStored { stored += 1 }
        #expect(log.catalog.waiting < 256, "\(log.catalog.waiting) entries wait in memory, at most 64 are wanted")
        log.close()
        // The next file of this name lies elsewhere on the disk.
        fileSystem.onOpen { path, mode in
            if path.hasSuffix("/index/\(run)"), case .create = mode { fileSystem.onRead(nil) }
            return nil
        }
        log = try open()
        #expect(try log.text(3) == "body")
    }

    @Test func aDamagedBlockThatRecoveryMeetsIsRebuilt() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        func open() throws -> DeviceLog { try Self.openDevice(fileSystem) }
        var log = try open()
        for number in 0..<50 as Range<UInt64> { #expect(log.put(number, at: 10).isStored) }
        try log.flushIndex()
        for number in 0..<50 as Range<UInt64> { #expect(log.put(number, at: 11, "newer").isStored) }
        fileSystem.killProcess()
        #expect(fileSystem.flipBit("/device/index/1.run", at: 20, bit: 2))
        var failures = 0
        for _ in 0..<3 {
            do {
                log = try open()
                break
            } catch {
                failures += 1
                fileSystem.killProcess()
            }
        }
        #expect(failures == 0)
        if failures < 3 { #expect(try log.text(3) == "newer") }
    }

    @Test func aDamagedBlockWithTheEntryOfABlobIsRebuilt() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        func open() throws -> DeviceLog { try Self.openDevice(fileSystem) }
        let log = try open()
        var id: UInt64 = 0
        for number in 0..<300 as Range<UInt64> {
            let blob = try log.stageBlob(expectedLength: nil)
            try blob.append(ByteBuffer(repeating: 5, count: 2_000))
            try blob.seal()
            if number == 0 { id = blob.id }
            #expect(log.perform(.put(key(number), timestamp: 1, metadata: bytes(""), body: .blob(blob))).isStored)
        }
        log.close()
        let run = try Self.open(fileSystem).version.runs[0]
        let block = try #require(IndexSpace.blobs.key(id).withUnsafeBytes { run.tail.fences.block(of: $0) })
        #expect(
            fileSystem.flipBit("/device/index/\(run.number).run", at: Int(run.tail.fences.offsets[block]) + 20, bit: 2))
        var failures: [String] = []
        for _ in 0..<3 {
            do {
                let log = try open()
                #expect(try log.text(1) == "blob")
                break
            } catch {
                failures.append("\(error)")
                fileSystem.killProcess()
            }
        }
        #expect(failures.isEmpty)
    }

    @Test func aClosedDeviceAnswersClosed() throws {
        let fileSystem = MemoryFileSystem()
        let log = try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: .test,
            logger: quietLogger)
        #expect(log.put(1, at: 10).isStored)
        log.close()
        #expect(throws: DeviceLogError.closed) { try log.object(key(1), mayBlock: true) }
    }

    @Test func aDeviceWithADamagedIndexIsNotEmptyAfterItsEnd() throws {
        let fileSystem = MemoryFileSystem()
        let log = try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: .test,
            logger: quietLogger)
        #expect(log.put(1, at: 10).isStored)
        log.state.withLock { $0.isIndexDamaged = true }
        log.close()
        // `.closed`, or the object; never that there is none.
        let result = log.result(1)
        if case .success(.absent) = result { Issue.record("absent") }
    }

    @Test func aRowThatComesBackIsNeverMissing() throws {
        let fileSystem = HookedFileSystem()
        let index = try Self.open(fileSystem)
        for (time, kind) in [(1, StoredRow.Kind.live), (2, .deleted)] as [(UInt64, StoredRow.Kind)] {
            let layer = MemoryLayer(rows: 64, firstPending: .max)
            Self.row(layer, [97], kind, time, hides: time == 2)
            try index.apply(IndexChanges(layer: layer, digests: [], state: IndexState(batch: time)))
        }
        // While a reader is between the two spaces, the row is put again and flushed.
        let done = Counter()
        fileSystem.onRead { path, _, _ in
            guard done.value == 0 else { return nil }
            done.add()
            let layer = MemoryLayer(rows: 64, firstPending: .max)
            Self.row(layer, [97], .live, 3, hides: true)
            let changes = IndexChanges(layer: layer, digests: [], state: IndexState(batch: 3))
            #expect(throws: Never.self) { try index.apply(changes) }
            return nil
        }
        let row = try ([97] as [UInt8]).withUnsafeBytes { try index.row(table(1), $0) }
        #expect(done.value == 1)
        #expect(row != nil, "neither the old row nor the new one")
    }

    @Test func fencesOfLongNamesAreSmall() throws {
        let index = try Self.open(MemoryFileSystem())
        let layer = MemoryLayer(rows: 64, firstPending: .max)
        let count = 3000
        for number in 0..<count {
            let name = Array((String(repeating: "x", count: 1016) + String(10_000_000 + number)).utf8)
            Self.row(layer, name, .live, 1, hides: false)
        }
        try index.apply(IndexChanges(layer: layer, digests: [], state: IndexState(batch: 1)))
        let run = try index.version.runs[0]
        let tail = Int(run.size - run.tail.end)
        // A block holds three of these names.
        #expect(tail / count < 40)
    }

    @Test func aListingDoesNotStepOverDeletedRows() throws {
        let counter = Counter()
        let fileSystem = HookedFileSystem()
        let index = try Self.open(fileSystem, smallest: 8 << 20)
        let count = 60_000
        func name(_ number: Int) -> [UInt8] { Array("object-\(10_000_000 + number)".utf8) }
        var layer = MemoryLayer(rows: 64, firstPending: .max)
        for number in 0..<count { Self.row(layer, name(number), .live, 1, hides: false) }
        Self.row(layer, Array("z".utf8), .live, 1, hides: false)
        try index.apply(IndexChanges(layer: layer, digests: [], state: IndexState(batch: 1)))
        layer = MemoryLayer(rows: 64, firstPending: .max)
        for number in 0..<count { Self.row(layer, name(number), .deleted, 2, hides: true) }
        try index.apply(IndexChanges(layer: layer, digests: [], state: IndexState(batch: 2)))
        try index.tidy { false }
        fileSystem.onRead { _, _, _ in
            counter.add()
            return nil
        }
        var seen = 0
        try index.scanRows(table(1), kind: .live, from: .first, reverse: false) { _, _ in
            seen += 1
            return .stop
        }
        #expect(seen == 1 && counter.value < 5, "\(counter.value) blocks read")
    }

    @Test func aFlushDoesNotWaitForALargeMerge() throws {
        let index = try Self.open(MemoryFileSystem(), smallest: 2000)
        var time: UInt64 = 0
        for part in 0..<8 as Range<UInt64> {
            time += 1
            try index.apply(Self.changes(part * 6000..<(part + 1) * 6000, at: time))
        }
        // The merge of all of them begins and is put off; then small flushes come while it is under way.
        try index.tidy { true }
        let large = try #require(index.merges.first?.number)
        for _ in 0..<60 {
            time += 1
            try index.apply(Self.changes(0..<10, at: time))
        }
        #expect(index.merges.first?.number == large, "a flush of ten entries merged \(8 * 6000)")
        #expect(try index.version.runs.count < 8 + 3 * MergePolicy.width)
        #expect(try index.object(key(3))?.timestamp == time)
        try index.tidy { false }
        #expect(index.merges.isEmpty)
        #expect(try index.version.runs.count < MergePolicy.width)
        #expect(try index.object(key(3))?.timestamp == time)
        #expect(try index.object(key(47_999))?.timestamp == 8)
    }

    @Test func aManifestThatIsFarTooLargeIsDamage() throws {
        let directory = TemporaryDirectory()
        let fileSystem = POSIXFileSystem()
        try fileSystem.createDirectory(directory.path)
        let file = try fileSystem.open("\(directory.path)/manifest", .create)
        try ([7] as [UInt8]).withUnsafeBytes { try file.write($0, at: 65 << 20) }
        #expect(throws: DeviceLogError.corrupt) {
            try RunIndex(directory: directory.path, fileSystem: fileSystem, policy: MergePolicy(smallest: 1))
        }
    }

    @Test func failedManifestsLeaveNoRunsBehind() throws {
        let fileSystem = HookedFileSystem()
        let index = try Self.open(fileSystem)
        try index.apply(Self.changes(0..<20, at: 1))
        fileSystem.onOpen { path, _ in path.hasSuffix("manifest.new") ? ENOSPC : nil }
        for _ in 0..<50 { try? index.apply(Self.changes(0..<20, at: 2)) }
        let files = try fileSystem.list(Self.directory).count
        #expect(files < 5, "\(files) files")
    }

    @Test func aFlushThatFitsIsNotRefusedForAMergeThatDoesNot() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = try Self.open(fileSystem)
        var time: UInt64 = 0
        for part in 0..<23 as Range<UInt64> {
            time += 1
            try index.apply(Self.changes(part * 300..<(part + 1) * 300, at: time))
        }
        let used = fileSystem.contents().reduce(0) { $0 + Int64($1.length) }
        fileSystem.plan.capacity = used + used / 4
        for _ in 0..<5 {
            time += 1
            let runs = try index.version.runs.count
            #expect(throws: Never.self, "at \(runs) runs") {
                try index.apply(Self.changes(0..<10, at: time))
            }
            try? index.tidy { false }
        }
    }

    @Test func everyOperationOfTheIndexIsSurvived() throws {
        for seed in 0..<3 as Range<UInt64> {
            var operation = 1
            while true {
                let fileSystem = FaultyFileSystem(seed: seed * 1000 + UInt64(operation))
                var random = SeededGenerator(seed: seed)
                let index = try Self.open(fileSystem, smallest: 500)
                fileSystem.plan.operationsUntilCrash = operation
                var done: UInt64 = 0
                var tried: UInt64 = 0
                var expected: [UInt64: [UInt64]] = [0: []]
                var state = [UInt64](repeating: 0, count: 40)
                expected[0] = state
                for step in 1...20 as ClosedRange<UInt64> {
                    let layer = MemoryLayer(rows: 64, firstPending: .max)
                    for _ in 0..<8 {
                        let number = UInt64.random(in: 0..<40, using: &random)
                        let removed = Int.random(in: 0..<3, using: &random) == 0
                        state[Int(number)] = removed ? 0 : step
                        layer.objects[key(number)] = ObjectEntry(
                            kind: removed ? .removed : .live, timestamp: step, dataTimestamp: step,
                            record: RecordLocation(segment: 1, offset: 8, length: 5), data: .none, blob: 0)
                    }
                    expected[step] = state
                    tried = step
                    do {
                        try index.apply(IndexChanges(layer: layer, digests: [], state: IndexState(batch: step)))
                        done = step
                    } catch { break }
                    var pieces = Int.random(in: 0..<3, using: &random)
                    do {
                        try index.tidy {
                            pieces -= 1
                            return pieces < 0
                        }
                    } catch { break }
                }
                let hasStopped = fileSystem.hasStopped
                if operation % 3 == 0 { fileSystem.killProcess() } else { fileSystem.losePower() }
                let again = try Self.open(fileSystem, smallest: 500)
                let batch = try again.state()?.batch ?? 0
                #expect(batch == done || batch == tried, "seed \(seed), operation \(operation)")
                for number in 0..<40 as Range<UInt64> {
                    let found = try again.object(key(number))?.timestamp ?? 0
                    #expect(found == expected[batch]?[Int(number)], "seed \(seed), operation \(operation)")
                }
                let files = Set(fileSystem.list(Self.directory))
                let named = Set(try again.version.runs.map { "\($0.number).run" }).union(["manifest"])
                #expect(files.isSubset(of: named), "files are left over")
                guard hasStopped else { break }
                operation += 1
            }
        }
    }

    @Test func craftedRunsTrapNothing() throws {
        var random = SeededGenerator(seed: 77)
        let fileSystem = MemoryFileSystem()
        let index = try Self.open(fileSystem)
        try index.apply(Self.changes(0..<150, at: 1))
        let file = try fileSystem.open("\(Self.directory)/1.run", .read)
        var original = [UInt8](repeating: 0, count: Int(try file.length()))
        _ = try original.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        let run = try index.version.runs[0]
        let end = Int(run.tail.end)
        let offsets = run.tail.fences.offsets.map { Int($0) } + [end]
        for _ in 0..<1500 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let inTail = Bool.random(using: &random)
                let place =
                    inTail
                    ? Int.random(
                        in: (Bool.random(using: &random) ? end : bytes.count - RunTail.trailerSize)..<bytes.count - 4,
                        using: &random)
                    : Int.random(in: 0..<end, using: &random)
                bytes[place] = [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)].randomElement(
                    using: &random)!
            }
            bytes.withUnsafeMutableBytes { raw in
                for block in 0..<offsets.count - 1 {
                    let body = UnsafeRawBufferPointer(rebasing: raw[offsets[block] + 4..<offsets[block + 1]])
                    raw.baseAddress!.put(CRC32C.checksum(body), at: offsets[block])
                }
                let tail = UnsafeRawBufferPointer(rebasing: raw[end..<raw.count - 4])
                raw.baseAddress!.put(CRC32C.checksum(tail), at: raw.count - 4)
            }
            let crafted = MemoryFileSystem()
            let target = try crafted.open("/x", .create)
            try bytes.withUnsafeBytes { try target.write($0, at: 0) }
            guard let run = try? Run.open(target, number: 1, memory: BlockMemory(limit: 0)) else { continue }
            for number in 0..<10 as Range<UInt64> {
                IndexSpace.objects.key(key(number)).withBytes { key in
                    _ = try? run.find(key, IndexCoding.object)
                }
            }
            for reverse in [true, false] {
                let cursor = MergedCursor([run, run], reverse: reverse)
                try? [reverse ? 3 as UInt8 : 0].withBytes { (key) throws(DeviceLogError) in
                    if reverse { try cursor.seek(before: key, orAt: true) } else { try cursor.seek(atOrBehind: key) }
                }
                var steps = 0
                while cursor.entry != nil, steps < 400 {
                    steps += 1
                    do { try cursor.move() } catch { break }
                }
            }
        }
    }
}
