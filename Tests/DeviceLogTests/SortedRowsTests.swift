import Testing

@testable import DeviceLog

/// Rows in a dictionary and sorted anew for every question, and the same rows in `SortedRows`.
struct SortedRowsTests {
    @Test func writesAndPagesAsASortedDictionary() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let rows = SortedRows()
        var model: [[UInt8]: (timestamp: UInt64, hidesOther: Bool)] = [:]
        /// Names that share beginnings, some of them whole.
        func name() -> [UInt8] {
            (0..<Int.random(in: 0...6, using: &random)).map { _ in UInt8.random(in: 97...102, using: &random) }
        }
        for step in 0..<8_000 {
            let new = name()
            let hides = step % 7 == 0
            rows.set(new, Self.row(UInt64(step)), hidesOther: hides)
            model[new] = (UInt64(step), hides || model[new]?.hidesOther == true)
            let asked = name()
            let found = asked.withUnsafeBytes { rows.find($0) }
            #expect(found?.timestamp == model[asked]?.timestamp, "seed \(seed), step \(step)")
            // Sometimes after one write, sometimes after many.
            guard Int.random(in: 0...(step < 2_000 ? 300 : 3), using: &random) == 0 else { continue }
            check(rows, model, from: name(), &random, "seed \(seed), step \(step)")
        }
        #expect(rows.count == model.count, "seed \(seed)")
        var all: Set<[UInt8]> = []
        rows.forEach { all.insert($0.name) }
        #expect(all == Set(model.keys), "seed \(seed)")
        #expect(rows.inOrder().map(\.name) == model.keys.sorted { $0.lexicographicallyPrecedes($1) }, "seed \(seed)")
    }

    private func check(
        _ rows: SortedRows, _ model: [[UInt8]: (timestamp: UInt64, hidesOther: Bool)], from start: [UInt8],
        _ random: inout SeededGenerator, _ comment: Comment
    ) {
        let sorted = model.keys.sorted { $0.lexicographicallyPrecedes($1) }
        let limit = Int.random(in: 1...40, using: &random)
        let isAfter = { (name: [UInt8]) in start.lexicographicallyPrecedes(name) }
        let isBefore = { (name: [UInt8]) in name.lexicographicallyPrecedes(start) }
        let pages: [(page: [SortedRows.Element], wanted: [[UInt8]])] = [
            (rows.page(from: .first, reverse: false, limit: limit), sorted),
            (rows.page(from: .at(start), reverse: false, limit: limit), sorted.filter { !isBefore($0) }),
            (rows.page(from: .after(start), reverse: false, limit: limit), sorted.filter(isAfter)),
            (rows.page(from: .first, reverse: true, limit: limit), sorted.reversed()),
            (rows.page(from: .at(start), reverse: true, limit: limit), sorted.reversed().filter { !isAfter($0) }),
            (rows.page(from: .after(start), reverse: true, limit: limit), sorted.reversed().filter(isBefore)),
        ]
        for (page, wanted) in pages {
            #expect(page.map(\.name) == Array(wanted.prefix(limit)), comment)
            for element in page {
                #expect(element.row.timestamp == model[element.name]?.timestamp, comment)
                #expect(element.hidesOther == model[element.name]?.hidesOther, comment)
            }
        }
    }

    private static func row(_ timestamp: UInt64) -> StoredRow {
        StoredRow(
            timestamp: timestamp, kind: .live, bucket: 0, bytes: 1, count: 1,
            record: RecordLocation(segment: 1, offset: 2, length: 3), value: [])
    }
}
