import NIOCore
import Testing

@testable import DeviceLog

@Suite struct RecentLogTests {
    private func add(_ log: RecentLog, _ segment: UInt32, _ offset: UInt32, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { log.add($0, segment: segment, offset: offset) }
    }

    private func read(_ log: RecentLog, _ segment: UInt32, _ offset: UInt32, _ count: Int) -> [UInt8]? {
        log.read(segment: segment, offset: offset, count: count).map { Array($0.readableBytesView) }
    }

    @Test func whatItHasIsTheLastBytesOfTheSegment() {
        let log = RecentLog(capacity: 100)
        var generator = SystemRandomNumberGenerator()
        var written: [UInt8] = []
        let begin = 5000
        for _ in 0..<200 {
            let batch = (0..<Int.random(in: 1...100, using: &generator)).map { _ in UInt8.random(in: 0...255) }
            add(log, 3, UInt32(begin + written.count), batch)
            written += batch
            let first = max(0, written.count - 100)
            #expect(read(log, 3, UInt32(begin + first), written.count - first) == Array(written[first...]))
            #expect(read(log, 3, UInt32(begin + written.count - 1), 1) == [written.last!])
            #expect(read(log, 3, UInt32(begin + written.count - 1), 2) == nil)
            if first > 0 { #expect(read(log, 3, UInt32(begin + first - 1), 1) == nil) }
        }
    }

    @Test func anotherSegmentOrAGapStartsAnew() {
        let log = RecentLog(capacity: 100)
        add(log, 1, 0, [1, 2, 3])
        add(log, 2, 3, [4, 5])
        #expect(read(log, 1, 0, 3) == nil)
        #expect(read(log, 2, 3, 2) == [4, 5])
        add(log, 2, 9, [6])
        #expect(read(log, 2, 3, 2) == nil)
        #expect(read(log, 2, 9, 1) == [6])
        add(log, 2, 10, Array(repeating: 7, count: 101))
        #expect(read(log, 2, 10, 101) == nil)
        #expect(read(log, 2, 10, 1) == nil)
    }

    @Test func nothingIsKeptWithoutMemory() {
        let log = RecentLog(capacity: 0)
        add(log, 1, 0, [1])
        #expect(read(log, 1, 0, 1) == nil)
    }
}
