import Testing

@testable import Proxy

@Suite struct TransactionIDGeneratorTests {
    @Test func shape() {
        var generator = TransactionIDGenerator(seed: (1, 2, 3, 4))
        let first = String(decoding: generator.next(now: 0x12345678), as: UTF8.self)
        #expect(first.wholeMatch(of: /tx[0-9a-f]{21}-0012345678/) != nil)
        let extra = Array("a b".utf8) + [UInt8](repeating: 120, count: 40)
        let second = String(decoding: generator.next(now: 1, extra: extra), as: UTF8.self)
        #expect(second.wholeMatch(of: /tx[0-9a-f]{21}-0000000001-a%20bx{29}/) != nil)
        #expect(first.prefix(23) != second.prefix(23))
    }

    @Test func idsDiffer() {
        var generator = TransactionIDGenerator(seed: (0, 0, 0, 0))
        let ids = Set((0..<1000).map { _ in generator.next(now: 1) })
        #expect(ids.count == 1000)
    }
}
