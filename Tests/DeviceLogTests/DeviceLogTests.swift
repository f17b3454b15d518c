import Foundation
import NIOCore
import Testing

@testable import DeviceLog

/// The whole on a real disk, as a server uses it.
struct DeviceLogTests {
    let directory = TemporaryDirectory()

    func open(_ configuration: Configuration = .test) throws -> DeviceLog {
        try DeviceLog.open(
            directory: directory.path, identity: testIdentity, configuration: configuration, logger: quietLogger)
    }

    @Test func objectsSurviveAReopen() throws {
        let log = try open()
        #expect(log.put(1, at: 10, "one").isStored)
        #expect(log.put(2, at: 10, "two").isStored)
        #expect(try log.text(1) == "one")
        #expect(log.put(1, at: 9, "old") == .superseded(newest: 10))
        #expect(log.perform(.delete(key(2), timestamp: 11)).isStored)
        let updated = Write.updateMetadata(key(1), timestamp: 12, baseDataTimestamp: 10, metadata: bytes("new"))
        #expect(log.perform(updated).isStored)
        log.close()

        let again = try open()
        guard case .live(let object) = try again.object(key(1), mayBlock: true) else {
            Issue.record("the object is gone")
            return
        }
        #expect(object.timestamp == 12)
        #expect(object.dataTimestamp == 10)
        #expect(object.metadata == bytes("new"))
        #expect(try again.text(1) == "one")
        #expect(try again.version(of: key(2)) == ObjectVersion(kind: .tombstone, timestamp: 11, dataTimestamp: 0))
        #expect(try again.version(of: key(3)) == .absent)
        #expect(again.statistics().objects == 1)
        #expect(again.statistics().tombstones == 1)
        again.close()
    }

    @Test func threadsCommitAndFlush() throws {
        var configuration = Configuration.test
        configuration.driver = .threads
        configuration.zeroAhead = 1 << 20
        configuration.memoryEntries = 64
        let log = try open(configuration)
        for number in 0..<500 as Range<UInt64> { #expect(log.put(number, at: 5, "body \(number)").isStored) }
        for number in 0..<500 as Range<UInt64> { #expect(try log.text(number) == "body \(number)") }
        log.close()
        let again = try open(configuration)
        for number in 0..<500 as Range<UInt64> { #expect(try again.text(number) == "body \(number)") }
        #expect(again.statistics().objects == 500)
        again.close()
    }

    @Test func rowsAreListedInOrder() throws {
        let log = try open()
        for name in ["b", "a", "d", "c"] {
            #expect(
                log.perform(.row(table(1), Row(name: Array(name.utf8), timestamp: 1, bytes: 10, count: 1))).isStored)
        }
        try log.flushIndex()
        #expect(log.perform(.row(table(1), Row(name: Array("b".utf8), timestamp: 2, deleted: true))).isStored)
        #expect(log.perform(.row(table(1), Row(name: Array("bb".utf8), timestamp: 2, bytes: 5))).isStored)
        #expect(try log.names(table(1)) == ["a", "bb", "c", "d"])
        #expect(try log.names(table(1), reverse: true) == ["d", "c", "bb", "a"])
        #expect(try log.names(table(1), from: .after(Array("bb".utf8))) == ["c", "d"])
        #expect(try log.tableInfo(table(1)).stats.total.rows == 4)
        #expect(try log.tableInfo(table(1)).stats.total.bytes == 35)
        log.close()
        let again = try open()
        #expect(try again.names(table(1)) == ["a", "bb", "c", "d"])
        #expect(try again.row(table(1), name: Array("b".utf8))?.deleted == true)
        again.close()
    }

    @Test func blobsAreReadBackInPieces() throws {
        let log = try open()
        let blob = try log.stageBlob(expectedLength: 1_000_000)
        var content = ByteBuffer()
        var generator = SeededGenerator(seed: 7)
        while content.readableBytes < 1_000_000 { content.writeInteger(generator.next()) }
        var rest = content
        while let piece = rest.readSlice(length: min(100_000, rest.readableBytes)), piece.readableBytes > 0 {
            try blob.append(piece)
        }
        try blob.seal()
        #expect(log.perform(.put(key(1), timestamp: 1, metadata: bytes("m"), body: .blob(blob))).isStored)
        log.close()
        let again = try open()
        guard case .live(let object) = try again.object(key(1), mayBlock: true), case .blob(let reader) = object.body
        else {
            Issue.record("no blob")
            return
        }
        #expect(reader.length == 1_000_000)
        #expect(try reader.read(offset: 0, length: 2_000_000, mayBlock: true) == content)
        #expect(
            try reader.read(offset: 262_100, length: 100, mayBlock: true)
                == content.getSlice(at: 262_100, length: 100))
        again.close()
    }

    /// Whole pieces that begin at a page are written from where they lie, others are copied: in any order the bytes are the same.
    @Test(arguments: [[5, 0], [1, 3000, 2, 0], [3000, 1, 2], [2, 8192, 1, 1, 7]]) func blobsOfWholePieces(parts: [Int])
        throws
    {
        let log = try open()
        let piece = log.configuration.blobPiece
        var generator = SeededGenerator(seed: 3)
        var content = ByteBuffer()
        func append(_ count: Int, isAligned: Bool, to blob: StagedBlob) throws {
            var buffer = ByteBuffer()
            buffer.reserveCapacity(count + 8192)
            let address = buffer.withVeryUnsafeBytes { Int(bitPattern: $0.baseAddress) }
            let padding = (4096 - address % 4096) % 4096 + (isAligned ? 0 : 8)
            buffer.moveWriterIndex(to: padding)
            buffer.moveReaderIndex(to: padding)
            for _ in 0..<count { buffer.writeInteger(UInt8(truncatingIfNeeded: generator.next())) }
            content.writeImmutableBuffer(buffer)
            try blob.append(buffer)
        }
        let blob = try log.stageBlob(expectedLength: nil)
        // Small numbers: so many whole pieces; others: so many bytes.
        for part in parts {
            if part < 10 {
                for number in 0..<part { try append(piece, isAligned: number % 2 == 0, to: blob) }
            } else {
                try append(part, isAligned: true, to: blob)
            }
        }
        try blob.seal()
        #expect(log.perform(.put(key(1), timestamp: 1, metadata: bytes("m"), body: .blob(blob))).isStored)
        guard case .live(let object) = try log.object(key(1), mayBlock: true), case .blob(let reader) = object.body
        else {
            Issue.record("no blob")
            return
        }
        #expect(try reader.read(offset: 0, length: content.readableBytes, mayBlock: true) == content)
        log.close()
    }

    @Test func aForeignDirectoryIsRefused() throws {
        let log = try open()
        #expect(throws: DeviceLogError.inUse) { try self.open() }
        log.close()
        #expect(throws: DeviceLogError.self) {
            try DeviceLog.open(
                directory: directory.path, identity: DeviceIdentity(clusterID: "test", deviceID: 2),
                logger: quietLogger)
        }
    }
}

extension DeviceLogTests {
    /// Commits wait for the index and compaction waits for commits: nobody may wait in a circle.
    @Test func compactionUnderLoadDoesNotHang() throws {
        var configuration = Configuration.test
        configuration.driver = .threads
        configuration.segmentSize = 64 << 10
        configuration.memoryEntries = 20
        configuration.gatherMicroseconds = 0
        configuration.compactionPeriod = .zero
        let log = try open(configuration)
        let isOver = DispatchSemaphore(value: 0)
        Thread {
            for round in 1...40 as ClosedRange<UInt64> {
                let answers = Answers()
                for number in 0..<200 as Range<UInt64> {
                    let body = ByteBuffer(repeating: UInt8(round), count: 300)
                    log.submit(
                        .put(key(number), timestamp: round, metadata: bytes("m"), body: .inline(body)),
                        completion: answers)
                }
                _ = log.perform(.pending(payload: bytes("end")))
                for outcome in answers.outcomes { outcome.confirm(log) }
            }
            isOver.signal()
        }.start()
        guard isOver.wait(timeout: DispatchTime.now() + 60.0) == .success else {
            Issue.record("it hangs: \(log.statistics())")
            return
        }
        log.close()
        let again = try open()
        #expect(again.statistics().objects == 200)
        #expect(try again.verifyIndex())
        again.close()
    }

    /// Many submitters, small segments, flushes and compaction in the background at once.
    @Test func threadsCompactWhileWriting() throws {
        var configuration = Configuration.test
        configuration.driver = .threads
        configuration.segmentSize = 128 << 10
        configuration.memoryEntries = 200
        configuration.compactionPeriod = .zero
        let log = try open(configuration)
        for round in 1...6 as ClosedRange<UInt64> {
            let answers = Answers()
            for number in 0..<300 as Range<UInt64> {
                log.submit(
                    .put(
                        key(number), timestamp: round, metadata: bytes("m"),
                        body: .inline(ByteBuffer(repeating: UInt8(round), count: 500))),
                    completion: answers)
            }
            // Behind everything that was queued.
            guard case .stored(let last) = log.perform(.pending(payload: bytes("end"))) else {
                throw DeviceLogError.closed
            }
            let allStored = answers.outcomes.allSatisfy { $0.isStored }
            #expect(allStored)
            for outcome in answers.outcomes { outcome.confirm(log) }
            #expect(last > .start)
            try log.flushIndex()
        }
        for _ in 0..<100 where log.statistics().garbageBytes > log.statistics().liveBytes { Pause.milliseconds(50) }
        let statistics = log.statistics()
        #expect(statistics.garbageBytes <= statistics.liveBytes, "\(statistics)")
        #expect(statistics.objects == 300)
        for number in 0..<300 as Range<UInt64> {
            guard case .live(let object) = try log.object(key(number), mayBlock: true) else {
                Issue.record("object \(number) is gone")
                continue
            }
            #expect(object.timestamp == 6)
        }
        log.close()
        let again = try open()
        #expect(again.statistics().objects == 300)
        #expect(try again.verifyIndex())
        again.close()
    }
}
