import Foundation
import NIOCore
import Synchronization
import Testing

@testable import DeviceLog

/// The index below a whole device, and with readers beside it.
struct RunIndexDeviceTests {
    /// Rows over active, flushing and runs at once, flushes failing now and then, kills between.
    @Test func rowsOverAllLayers() throws {
        for seed in 1...12 as ClosedRange<UInt64> {
            var random = SeededGenerator(seed: seed)
            let faulty = FaultyFileSystem(seed: seed)
            let fileSystem = HookedFileSystem(faulty)
            var configuration = Configuration.test
            configuration.memoryEntries = Int.random(in: 3...40, using: &random)
            configuration.indexRunSize = [300, 3000].randomElement(using: &random)!
            configuration.compactionGarbage = 0.3
            configuration.segmentSize = 16 << 10
            func open() throws -> DeviceLog {
                try DeviceLog.open(
                    directory: "/device", identity: testIdentity, fileSystem: fileSystem, configuration: configuration,
                    logger: quietLogger)
            }
            var log = try open()
            var model: [[UInt8]: Row] = [:]
            var clock: UInt64 = 1
            func name(_ number: Int) -> [UInt8] { Array("n/\(number / 3)\(["", "/", "/x"][number % 3])".utf8) }
            for step in 0..<400 {
                clock += 1
                if Int.random(in: 0..<10, using: &random) == 0 {
                    if Bool.random(using: &random) {
                        fileSystem.onOpen { path, mode in
                            if path.contains("/index/"), case .create = mode { return ENOSPC } else { return nil }
                        }
                    } else {
                        fileSystem.onOpen(nil)
                    }
                }
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let name = name(.random(in: 0..<40, using: &random))
                    let row = Row(
                        name: name, timestamp: clock, deleted: Bool.random(using: &random), bytes: Int64(clock),
                        value: bytes("v\(clock)"))
                    let outcome = log.perform(.row(table(1), row))
                    if outcome.isStored { model[name] = row }
                }
                switch Int.random(in: 0..<40, using: &random) {
                case 0:
                    fileSystem.onOpen(nil)
                    if Bool.random(using: &random) { faulty.losePower() } else { faulty.killProcess() }
                    log = try open()
                case 1:
                    fileSystem.onOpen(nil)
                    log.close()
                    log = try open()
                case 2...5: _ = try? log.flushIndex()
                case 6: _ = try? log.compact()
                default: break
                }
                guard step % 8 == 0 else { continue }
                for deleted in [true, false] {
                    let known = model.values.filter { $0.deleted == deleted }.sorted {
                        $0.name.lexicographicallyPrecedes($1.name)
                    }
                    for reverse in [true, false] {
                        let target = name(.random(in: 0..<40, using: &random))
                        let start: ScanStart = [.first, .at(target), .after(target)].randomElement(using: &random)!
                        let end = Bool.random(using: &random) ? name(.random(in: 0..<40, using: &random)) : nil
                        var seen: [String] = []
                        try log.scan(
                            table(1), kind: deleted ? .deleted : .live, from: start, until: end, reverse: reverse
                        ) { name, row in
                            seen.append("\(String(decoding: name, as: UTF8.self)) \(row.timestamp)")
                            return .next
                        }
                        func order(_ row: Row, _ other: [UInt8]) -> Int {
                            row.name.withUnsafeBytes { a in other.withUnsafeBytes { compare(a, $0) } }
                                * (reverse ? -1 : 1)
                        }
                        let wanted = (reverse ? known.reversed() : known).filter { row in
                            if let end, order(row, end) >= 0 { return false }
                            let order = order(row, target)
                            switch start {
                            case .first: return true
                            case .at: return order >= 0
                            case .after: return order > 0
                            }
                        }.map { "\(String(decoding: $0.name, as: UTF8.self)) \($0.timestamp)" }
                        #expect(seen == wanted, "seed \(seed), step \(step)")
                    }
                }
                for number in 0..<40 {
                    let found = try log.row(table(1), name: name(number))
                    #expect(found?.timestamp == model[name(number)]?.timestamp, "seed \(seed), step \(step)")
                    #expect(found?.deleted == model[name(number)]?.deleted)
                }
                #expect(log.statistics().rows == model.values.count { !$0.deleted }, "seed \(seed)")
            }
        }
    }

    /// Readers beside apply and tidy.
    @Test func readersBesideMerges() throws {
        let directory = TemporaryDirectory()
        try POSIXFileSystem().createDirectory(directory.path)
        let index = try RunIndex(
            directory: directory.path, fileSystem: POSIXFileSystem(), policy: MergePolicy(smallest: 4000))
        let isDone = Mutex(false)
        let problems = Mutex<[String]>([])
        let reads = Mutex(0)
        @Sendable func names() -> [[UInt8]] { (0..<100).map { Array("name-\(1000 + $0)".utf8) } }
        let group = DispatchGroup()
        func apply(_ time: UInt64) throws {
            let changes = RunIndexFaultTests.changes(0..<60, at: time)
            for name in names() { RunIndexFaultTests.row(changes.layer, name, .live, time, hides: false) }
            for number in 0..<50 {
                RunIndexFaultTests.row(
                    changes.layer, Array("name-\(1000 + number)-x".utf8), time % 2 == 0 ? .live : .deleted, time,
                    hides: time > 1)
            }
            try index.apply(changes)
        }
        try apply(1)
        for thread in 0..<2 {
            group.enter()
            Thread.detachNewThread {
                var last: UInt64 = 0
                while !isDone.withLock({ $0 }) {
                    do {
                        let found = try index.object(key(UInt64(last % 60)))?.timestamp ?? 0
                        if found < last { problems.withLock { $0.append("object \(found) after \(last)") } }
                        last = max(last, found)
                        var times = Set<UInt64>()
                        var seen: [[UInt8]] = []
                        try index.scanRows(table(1), kind: .live, from: .first, reverse: thread == 0) { name, row in
                            times.insert(row.timestamp)
                            if !name.elementsEqual(Array(name.prefix(9))) { return .next }
                            seen.append([UInt8](name))
                            return .next
                        }
                        if thread == 0 { seen.reverse() }
                        if seen != names() || times.count != 1 {
                            problems.withLock { $0.append("scan: \(seen.count) rows, times \(times)") }
                        }
                    } catch { problems.withLock { $0.append("\(error)") } }
                    reads.withLock { $0 += 1 }
                }
                group.leave()
            }
        }
        let end = Date().addingTimeInterval(2)
        var time: UInt64 = 1
        while Date() < end {
            time += 1
            try apply(time)
            var pieces = Int(time % 3)
            try index.tidy {
                pieces -= 1
                return pieces < 0
            }
        }
        isDone.withLock { $0 = true }
        group.wait()
        #expect(reads.withLock { $0 } > 10)
        #expect(problems.withLock { $0 }.prefix(5) == [])
    }

    @Test func aDamagedIndexDoesNotGrowRunsWithoutBound() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let index = try RunIndexFaultTests.open(fileSystem)
        try index.apply(RunIndexFaultTests.changes(0..<200, at: 1))
        #expect(fileSystem.flipBit("\(RunIndexFaultTests.directory)/1.run", at: 20, bit: 2))
        for number in 0..<200 as Range<UInt64> { _ = try? index.object(key(number)) }
        #expect(index.isDamaged)
        for time in 2...500 as ClosedRange<UInt64> {
            try index.apply(RunIndexFaultTests.changes(1000..<1010, at: time))
            try index.tidy { false }
        }
        let runs = try index.version.runs.count
        #expect(runs < 100, "\(runs) runs, each with a file open")
    }

    @Test func aCraftedNumberOfEntriesIsNoTrap() async {
        await #expect(processExitsWith: .success) {
            let fileSystem = MemoryFileSystem()
            let index = try RunIndexFaultTests.open(fileSystem)
            for time in 1...8 as ClosedRange<UInt64> { try index.apply(RunIndexFaultTests.changes(0..<9, at: time)) }
            let file = try fileSystem.open("\(RunIndexFaultTests.directory)/1.run", .readWrite)
            let end = try index.version.runs.last!.tail.end
            var tail = [UInt8](repeating: 0, count: Int(try file.length() - end))
            _ = try tail.withUnsafeMutableBytes { try file.read(into: $0, at: end) }
            tail.withUnsafeMutableBytes { bytes in
                bytes.baseAddress!.put(UInt64.max, at: bytes.count - RunTail.trailerSize + 16)
                let sum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 4)]))
                bytes.baseAddress!.put(sum, at: bytes.count - 4)
            }
            try tail.withUnsafeBytes { try file.write($0, at: end) }
            #expect(throws: DeviceLogError.corrupt) { try RunIndexFaultTests.open(fileSystem) }
        }
    }

    /// What is made and done between two flushes leaves nothing in the index.
    @Test func updatesThatAreDoneSoonLeaveNothingBehind() throws {
        let log = try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: MemoryFileSystem(), configuration: .test,
            logger: quietLogger)
        for round in 0..<3 {
            for _ in 0..<200 {
                guard case .stored = log.perform(.pending(payload: bytes("later"))) else { throw DeviceLogError.closed }
                let id = log.catalog.memory.withLock { $0.nextPending } - 1
                #expect(log.perform(.pendingDone(id: id)).isStored)
            }
            if round == 1 { #expect(log.perform(.pending(payload: bytes("stays"))).isStored) }
            try log.flushIndex()
        }
        let index = try #require(log.catalog.index as? RunIndex)
        #expect(try index.version.runs.reduce(0) { $0 + $1.tail.removals } == 0)
        #expect(try log.pendingUpdates(limit: 9).map { String(buffer: $0.payload) } == ["stays"])
        // One that was flushed is removed where it is.
        let id = try log.pendingUpdates(limit: 1)[0].id
        #expect(log.perform(.pendingDone(id: id)).isStored)
        try log.flushIndex()
        #expect(try log.pendingUpdates(limit: 9).isEmpty)
    }
}
