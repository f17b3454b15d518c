import Foundation
import NIOCore
import Synchronization
import Testing

@testable import DeviceLog

/// The index's map of its file: grows with what is in it, and its memory can be given back at any time.
struct IndexMapTests {
    private let directory = TemporaryDirectory()

    private func open() throws -> DeviceLog {
        var configuration = Configuration.test
        configuration.segmentSize = 8 << 20
        configuration.memoryEntries = 4_000
        // Everything is given back whenever there is an occasion.
        configuration.indexResidentLimit = 0
        return try DeviceLog.open(
            directory: directory.path, identity: testIdentity, configuration: configuration, logger: quietLogger)
    }

    private static func name(_ number: Int) -> [UInt8] { Array("row-\(number &* 7_919 % 40_000)".utf8) }

    @Test func itGrowsAndGivesBackMemoryWhileItIsRead() throws {
        let log = try open()
        let value = ByteBuffer(repeating: 7, count: 300)
        let written = Atomic<Int>(0)
        let isOver = Atomic<Bool>(false)
        let missed = Atomic<Int>(0)
        let readers = DispatchGroup()
        for seed in 1...2 as ClosedRange<UInt64> {
            Thread {
                var generator = SeededGenerator(seed: seed)
                while !isOver.load(ordering: .acquiring) {
                    let count = written.load(ordering: .acquiring)
                    guard count > 0 else { continue }
                    let found = try? log.row(table(1), name: Self.name(Int(generator.next() % UInt64(count))))
                    if found?.value != value { missed.wrappingAdd(1, ordering: .relaxed) }
                }
                readers.leave()
            }.startEntered(readers)
        }
        for number in 0..<20_000 {
            let row = Row(name: Self.name(number), timestamp: 1, bytes: 1, count: 1, value: value)
            #expect(log.perform(.row(table(1), row)).isStored)
            written.store(number + 1, ordering: .releasing)
        }
        isOver.store(true, ordering: .releasing)
        readers.wait()
        #expect(missed.load(ordering: .relaxed) == 0)
        log.close()

        let file = try FileManager.default.attributesOfItem(atPath: directory.path + "/index/data.mdb")
        #expect((file[.size] as? Int ?? 0) > 8 << 20, "it did not have to grow")
        let again = try open()
        #expect(try again.tableInfo(table(1)).stats.total.rows == 20_000)
        #expect(try again.names(table(1)).count == 20_000)
        again.close()
    }

    @Test func aMapIsKnownByItsFile() {
        let line = "7f00a000-7f00b000 rw-s 00000000 fe:01 1234                       /a b/data.mdb\n"
        #expect(MappedFile.parse(line, inode: 1234, device: 0xFE01) == 0x7F00_A000)
        #expect(MappedFile.parse(line, inode: 1235, device: 0xFE01) == nil)
        #expect(MappedFile.parse(line, inode: 1234, device: 0xFE02) == nil)
        let middle = "7f00a000-7f00b000 rw-s 00001000 fe:01 1234 /data.mdb\n"
        #expect(MappedFile.parse(middle, inode: 1234, device: 0xFE01) == nil)
        #expect(MappedFile.parse("7f00a000-7f00b000 rw-p 00000000 00:00 0", inode: 1234, device: 0xFE01) == nil)
        #expect(MappedFile.parse("", inode: 0, device: 0) == nil)
    }
}

extension Thread {
    fileprivate func startEntered(_ group: DispatchGroup) {
        group.enter()
        start()
    }
}
