import Testing

@testable import StorageWire

struct CallTableTests {
    final class Call {}

    @Test func aSlotIsUsedAgainUnderAnotherId() throws {
        var table = CallTable<Call>(limit: 1, allocatesIds: true)
        let first = Call()
        let second = Call()
        let firstId = table.add(first)
        let old = try #require(firstId)
        #expect(table[old] === first)
        let none = table.add(second)
        #expect(none == nil)
        let removed = [table.remove(old), table.remove(old)]
        #expect(removed[0] === first && removed[1] == nil)
        let secondId = table.add(second)
        let new = try #require(secondId)
        #expect(new != old && table[old] == nil && table[new] === second)
        #expect(table.count == 1)
    }

    @Test func thePeersIdsAreChecked() {
        var table = CallTable<Call>(limit: 8, allocatesIds: false)
        let results = [0x0001_0007, 0x0002_0007, 0x0001_0008, 0xffff_ffff].map { table.insert(Call(), id: $0) }
        #expect(results == [.inserted, .taken, .tooMany, .tooMany])
        #expect(table[0x0002_0007] == nil)
        #expect(table[0x0001_0003] == nil)
        let removed = table.remove(0x0001_0007)
        #expect(removed != nil)
        let again = table.insert(Call(), id: 0x0002_0007)
        #expect(again == .inserted)
        #expect(table.calls.count == 1)
    }
}
