import Testing

@testable import DeviceLog

/// The index as sorted runs, against one in memory that is a few dictionaries.
struct RunIndexTests {
    private static let directory = "/device/index"

    private static func open(
        _ fileSystem: any FileSystem, smallest: Int64 = 2000, memory: BlockMemory = BlockMemory(limit: 0)
    ) throws -> RunIndex {
        try RunIndex(
            directory: directory, fileSystem: fileSystem, policy: MergePolicy(smallest: smallest), memory: memory)
    }

    /// Without blocks in memory, with a few, and with all.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func itHoldsWhatAModelHolds(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let fileSystem = MemoryFileSystem()
        let memory = BlockMemory(limit: [0, 10_000, 10 << 20][Int(seed % 3)])
        var index = try Self.open(fileSystem, memory: memory)
        let model = MemoryIndex()
        var writer = LayerWriter()
        for step in 0..<120 {
            let changes = writer.next(&random, over: model)
            try index.apply(changes)
            model.apply(changes)
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                try index.close(erasing: false)
                #expect(memory.inUse == 0, "seed \(seed), step \(step)")
                index = try Self.open(fileSystem, memory: memory)
            // A merge that goes on later, with newer runs above its own.
            case 1: try index.tidy { true }
            case 2...4: try index.tidy { false }
            default: break
            }
            #expect(memory.inUse <= memory.limit && (memory.limit > 0 || memory.inUse == 0))
            if step % 10 == 9 { try Self.compare(index, model, &random, "seed \(seed), step \(step)") }
        }
        try index.tidy { false }
        try Self.compare(index, model, &random, "seed \(seed), at the end")
        let sizes = try index.version.runs.map(\.size)
        #expect(sizes.count < MergePolicy.width * (1 + index.policy.tier(sizes.max() ?? 0)), "\(sizes)")
        let files = fileSystem.list(Self.directory)
        #expect(
            try Set(files) == Set(index.version.runs.map { "\($0.number).run" } + ["manifest"]), "files are left over")
        try index.erase()
        #expect(fileSystem.list(Self.directory).isEmpty)
        #expect(try index.object(key(1)) == nil)
    }

    private static func compare(
        _ index: RunIndex, _ model: MemoryIndex, _ random: inout SeededGenerator, _ comment: Comment
    ) throws {
        #expect(try index.state() == model.state(), comment)
        for number in 0..<LayerWriter.objects {
            #expect(try index.object(key(number)) == model.object(key(number)), comment)
        }
        var objects: [ObjectKey] = []
        var expected: [ObjectKey] = []
        let first = key(.random(in: 0..<LayerWriter.objects, using: &random))
        try index.scanObjects(from: first) { key, _ in
            objects.append(key); return true
        }
        model.scanObjects(from: first) { key, _ in
            expected.append(key); return true
        }
        #expect(objects == expected, comment)
        for number in 0..<LayerWriter.tables {
            let table = table(number)
            #expect(try index.table(table) == model.table(table), comment)
            for name in 0..<LayerWriter.names {
                let (found, known) = try LayerWriter.name(name).withUnsafeBytes {
                    (try index.row(table, $0), model.row(table, $0))
                }
                #expect(found == known, comment)
            }
            for _ in 0..<6 { try compareScans(index, model, table, &random, comment) }
        }
        let pending = try index.pending(from: 3, limit: 20)
        #expect(pending.map(\.id) == model.pending(from: 3, limit: 20).map(\.id), comment)
        for id in 0..<60 as Range<UInt64> {
            #expect(try index.hasBlob(id) == model.hasBlob(id), comment)
            #expect(try index.pending(id) == model.pending(id), comment)
        }
        var pages: [DigestPage] = []
        try index.digestPages { pages.append($0) }
        var known: [DigestPage] = []
        model.digestPages { known.append($0) }
        #expect(pages == known.sorted { $0.number < $1.number }, comment)
    }

    /// The same walk over both, with jumps.
    private static func compareScans(
        _ index: RunIndex, _ model: MemoryIndex, _ table: TableKey, _ random: inout SeededGenerator,
        _ comment: Comment
    ) throws {
        let kind: StoredRow.Kind = Bool.random(using: &random) ? .live : .deleted
        let reverse = Bool.random(using: &random)
        let name = LayerWriter.name(.random(in: 0..<LayerWriter.names, using: &random))
        let start: ScanStart = [.first, .at(name), .after(name), .at([]), .after([0xFF])].randomElement(using: &random)!
        let seed = random.next()
        func walk(_ store: any IndexStore) throws -> [String] {
            var jumps = SeededGenerator(seed: seed)
            var seen: [String] = []
            try store.scanRows(table, kind: kind, from: start, reverse: reverse) { name, row in
                seen.append("\(String(decoding: name, as: UTF8.self)) \(row.timestamp) \(row.value.count)")
                switch Int.random(in: 0..<8, using: &jumps) {
                case 0: return .seek(to: LayerWriter.name(.random(in: 0..<LayerWriter.names, using: &jumps)))
                case 1 where seen.count > 20: return .stop
                default: return .next
                }
            }
            return seen
        }
        #expect(try walk(index) == walk(model), comment)
    }

    @Test func everyFlippedBitOfABlockIsFound() {
        var builder = RunBlockBuilder()
        for text in ["alpha", "alphabet", "alps"] {
            Array(text.utf8).withUnsafeBytes { key in builder.add(key, key, isRemoved: text == "alps") }
        }
        var block: [UInt8] = []
        builder.finish(to: &block)
        block.withUnsafeBytes { bytes in
            let block = RunBlock(bytes)
            #expect(block?.prefix.count == 3)
            #expect(block?.entry(1).map { [UInt8]($0.suffix) } == Array("habet".utf8))
            #expect(block?.entry(2)?.isRemoved == true)
            #expect(block?.entry(3) == nil)
            for (key, place, isEqual) in [("a", 0, false), ("alpha", 0, true), ("alphas", 2, false), ("b", 3, false)] {
                let found = Array(key.utf8).withUnsafeBytes { block?.place(of: $0) }
                #expect(found?.index == place && found?.isEqual == isEqual, "\(key)")
            }
        }
        for bit in 0..<block.count * 8 {
            var damaged = block
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(damaged.withUnsafeBytes { RunBlock($0) == nil })
        }
    }

    @Test func theFilterMissesNothingAndPassesLittle() {
        var filter = KeyFilter(keys: 20_000)
        func hash(_ number: Int) -> UInt64 { Array("key \(number)".utf8).withUnsafeBytes { KeyFilter.hash($0) } }
        for number in 0..<20_000 { filter.insert(hash(number)) }
        #expect((0..<20_000).allSatisfy { filter.mayContain(hash($0)) })
        let passed = (20_000..<120_000).count { filter.mayContain(hash($0)) }
        #expect(passed < 2_000, "\(passed) of 100,000")
    }

    @Test func runsOfOneSizeAreMerged() {
        let policy = MergePolicy(smallest: 100)
        func due(_ bytes: [Int64]) -> Int? { policy.due(bytes.map { MergePolicy.Size(bytes: $0) }) }
        #expect([0, 99, 100, 799, 800, 6400].map(policy.tier) == [0, 0, 1, 1, 2, 3])
        #expect(due([]) == nil)
        #expect(due(Array(repeating: 10, count: 7)) == nil)
        #expect(due(Array(repeating: 10, count: 8)) == 8)
        #expect(due(Array(repeating: 10, count: 9) + [5000]) == 9)
        // Newer ones that are smaller go along; an older one that is small counts with those above it.
        #expect(due([10, 10] + Array(repeating: 200, count: 8) + [5000]) == 10)
        #expect(due([10, 10] + Array(repeating: 200, count: 7) + [5000]) == nil)
        #expect(due(Array(repeating: 200, count: 7) + Array(repeating: 10, count: 9)) == 16)
        // A quarter of all entries says only that something is removed.
        let full = MergePolicy.Size(bytes: 5000, entries: 30_000)
        #expect(policy.due([MergePolicy.Size(bytes: 10, entries: 12_000, removals: 12_000), full]) == 2)
        #expect(policy.due([MergePolicy.Size(bytes: 10, entries: 9_000, removals: 9_000), full]) == nil)
    }

    @Test func aFailedManifestLosesNothing() throws {
        var random = SeededGenerator(seed: 9)
        for failing in 1..<6 {
            let fileSystem = FaultyFileSystem(seed: 5)
            let index = try Self.open(fileSystem)
            let model = MemoryIndex()
            var writer = LayerWriter()
            for step in 0..<20 {
                let changes = writer.next(&random, over: model)
                fileSystem.plan.syncsUntilFailure = step % 3 == 1 ? failing : nil
                let isApplied = (try? index.apply(changes)) != nil
                fileSystem.plan.syncsUntilFailure = nil
                if !isApplied { try index.apply(changes) }
                try? index.tidy { false }
                model.apply(changes)
            }
            try Self.compare(index, model, &random, "failing \(failing)")
            fileSystem.losePower()
            try Self.compare(Self.open(fileSystem), model, &random, "failing \(failing), after a power loss")
        }
    }
}

/// Makes layers of random changes as the catalog would.
private struct LayerWriter {
    static let objects: UInt64 = 300
    static let tables: UInt64 = 3
    static let names = 200

    private var clock: UInt64 = 0
    private var pages: [UInt16: DigestPage] = [:]

    /// Some longer than a block, some beginning with another one.
    static func name(_ number: Int) -> [UInt8] {
        let stem = number % 7 == 0 ? String(repeating: "long/", count: 150) : "n/"
        return Array((stem + String(number / 2) + (number % 2 == 0 ? "" : "/more")).utf8)
    }

    mutating func next(_ random: inout SeededGenerator, over model: MemoryIndex) -> IndexChanges {
        let layer = MemoryLayer(rows: 40, firstPending: .max)
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            clock += 1
            let location = RecordLocation(segment: 1, offset: UInt32(clock), length: 5)
            switch Int.random(in: 0..<10, using: &random) {
            case 0...3:
                let kinds: [ObjectEntry.Kind] = [.live, .live, .tombstone, .removed]
                layer.objects[key(.random(in: 0..<Self.objects, using: &random))] = ObjectEntry(
                    kind: kinds.randomElement(using: &random)!, timestamp: clock, dataTimestamp: clock,
                    record: location,
                    data: .none, blob: 0)
            case 4...7:
                let table = table(.random(in: 0..<Self.tables, using: &random))
                let name = Self.name(.random(in: 0..<Self.names, using: &random))
                let (hash, old) = name.withUnsafeBytes { name in
                    let hash = MemoryLayer.hash(table, name)
                    return (hash, layer.row(table, name, hash: hash) ?? model.row(table, name))
                }
                let kind: StoredRow.Kind = Int.random(in: 0..<3, using: &random) == 0 ? .deleted : .live
                let value = [UInt8](repeating: 1, count: .random(in: 0..<9, using: &random) == 0 ? 9000 : 30)
                layer.setRow(
                    table, name,
                    StoredRow(
                        timestamp: clock, kind: kind, bucket: 0, bytes: 1, count: 1, record: location, value: value),
                    hash: hash, hidesOther: old.map { $0.kind != kind } ?? false)
            case 8:
                layer.tables[table(.random(in: 0..<Self.tables, using: &random))] = TableState(info: [
                    UInt8(clock % 256)
                ])
                let number = UInt16.random(in: 0..<1024, using: &random)
                pages[number] = DigestPage(policy: 0, number: number, values: Array(repeating: clock, count: 64))
            default:
                let id = UInt64.random(in: 0..<60, using: &random)
                layer.blobs[id] = Bool.random(using: &random)
                layer.set(
                    pending: id, to: Bool.random(using: &random) ? PendingEntry(record: location, payload: [7]) : nil)
            }
        }
        defer { pages.removeAll() }
        return IndexChanges(layer: layer, digests: Array(pages.values), state: IndexState(batch: clock))
    }
}
