import Ring
import Testing

@testable import DeviceLog

struct ObjectTableTests {
    /// Ranges beside writes, growth and a new beginning, against a walk over everything.
    @Test func rangesHoldWhatIsInThem() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let table = ObjectTable(capacity: 64)
        var model: [ObjectKey: ObjectEntry] = [:]
        /// Few buckets and many, and values that hardly differ.
        func hash() -> PathHash {
            let spread = [UInt64(3), 1 << 20, .max].randomElement(using: &random)!
            let high = UInt64.random(in: 0...spread, using: &random) << (spread == 3 ? 48 : 0)
            return PathHash(high: high, low: .random(in: 0...50, using: &random))
        }
        for step in 0..<6_000 {
            var entry = ObjectEntry.marker(.tombstone, RecordHeader(kind: .tombstone), at: .none)
            entry.timestamp = UInt64(step)
            let key = ObjectKey(policy: .random(in: 0...1, using: &random), hash: hash())
            table[key] = entry
            model[key] = entry
            if step == 3_000 {
                table.removeAll()
                model = [:]
            }
            guard step % 20 == 0 else { continue }
            let bounds = [hash(), hash()].sorted()
            for policy in 0...1 as ClosedRange<UInt8> {
                let found = table.entries(policy: policy, from: bounds[0], through: bounds[1])
                let wanted = model.filter {
                    $0.key.policy == policy && bounds[0] <= $0.key.hash && $0.key.hash <= bounds[1]
                }
                #expect(found.count == wanted.count, "seed \(seed), step \(step)")
                for slot in found {
                    #expect(wanted[slot.key]?.timestamp == slot.entry.timestamp, "seed \(seed), step \(step)")
                }
            }
        }
    }
}
