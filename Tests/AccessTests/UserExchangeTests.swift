import Testing

@testable import Access

/// Nodes that come to know the same users, whatever is lost, late or doubled between them.
@Suite struct UserExchangeTests {
    private static let clusterKey = ClusterKey(secret: Array("cluster".utf8))
    private let test = Array("test".utf8)
    private let tester = Array("tester".utf8)
    private let name = Array("test:tester".utf8)

    private func file() throws -> UserFile {
        var users = UserFile(clusterKey: Self.clusterKey)
        try users.add(account: test, name: tester, key: Array("testing".utf8), roles: .admin, now: 100)
        return users
    }

    /// What one node takes over from another, page by page; the number of pages.
    @discardableResult
    private static func fetch(
        _ users: inout UserFile, from other: UserFile, limit: Int = 1 << 20
    ) throws -> Int {
        var after: [UInt8] = []
        for pages in 1...10_000 {
            let page = other.page(differingFrom: users.digests, after: after, limit: limit)
            #expect(page.lines.count <= max(limit, 800))
            let merge = try users.merge(page.lines)
            if page.isWhole { return pages }
            #expect(after.lexicographicallyPrecedes(merge.last))
            after = merge.last
        }
        throw UserFile.Failure.tooLarge
    }

    @Test func aNewNodeGetsAllPageByPage() throws {
        var users = UserFile(clusterKey: Self.clusterKey)
        for number in 0..<300 {
            try users.add(account: test, name: Array("u\(number)".utf8), key: [65], roles: [], now: 1)
        }
        for number in 0..<50 { try users.remove(account: test, name: Array("u\(number)".utf8), now: 2) }
        for limit in [1, 1000, 1 << 20] {
            var other = UserFile(clusterKey: Self.clusterKey)
            let pages = try Self.fetch(&other, from: users, limit: limit)
            #expect(limit == 1 ? pages >= 300 : limit == 1000 ? pages > 20 : pages == 1)
            #expect(other.digests == users.digests)
            #expect(other.serialized() == users.serialized())
            #expect(other.list == users.list)
        }
    }

    @Test func equalNodesTellNothing() throws {
        let users = try file()
        #expect(users.page(differingFrom: users.digests, after: [], limit: 100) == .init(lines: [], isWhole: true))
        let read = try UserFile(parsing: users.serialized(), clusterKey: Self.clusterKey)
        #expect(read.digests == users.digests)
        // Somebody who counts otherwise is told everything.
        #expect(!users.page(differingFrom: [], after: [], limit: 100).lines.isEmpty)
    }

    @Test func oneChangeBringsOnlyItsBucket() throws {
        var users = UserFile(clusterKey: Self.clusterKey)
        for number in 0..<1000 {
            try users.add(account: test, name: Array("u\(number)".utf8), key: [65], roles: [], now: 1)
        }
        let before = users
        try users.setKey(account: test, name: Array("u7".utf8), key: [66], now: 2)
        let page = users.page(differingFrom: before.digests, after: [], limit: 1 << 20)
        #expect((1..<60).contains(page.lines.split(separator: UInt8(ascii: "\n")).count))
        #expect(zip(users.digests, before.digests).count(where: { $0 != $1 }) == 1)
    }

    @Test func theLaterChangeWinsOnBoth() throws {
        var left = try file()
        var right = left
        try left.setKey(account: test, name: tester, key: Array("left".utf8), now: 200)
        try right.remove(account: test, name: tester, now: 300)
        try left.add(account: test, name: Array("l".utf8), key: [65], roles: [], now: 200)
        try right.add(account: test, name: Array("r".utf8), key: [65], roles: [], now: 200)
        try Self.fetch(&left, from: right)
        try Self.fetch(&right, from: left)
        #expect(left.serialized() == right.serialized())
        #expect(left.list.map(\.name) == [Array("l".utf8), Array("r".utf8)])
    }

    /// Of two changes of the same tick both nodes take the same one.
    @Test func changesOfOneMoment() throws {
        for _ in 0..<20 {
            var left = try file()
            var right = left
            try left.setKey(account: test, name: tester, key: Array("left".utf8), now: 200)
            try right.setKey(account: test, name: tester, key: Array("right".utf8), now: 200)
            try Self.fetch(&left, from: right)
            try Self.fetch(&right, from: left)
            #expect(left.list == right.list)
        }
    }

    /// A clock that is a minute behind does not matter where the change before is known.
    @Test func aClockThatIsBehind() throws {
        let minute = 60 * UserFile.ticksPerSecond
        var ahead = try file()
        var behind = ahead
        try ahead.setKey(account: test, name: tester, key: Array("first".utf8), now: 10 * minute)
        try Self.fetch(&behind, from: ahead)
        try behind.setKey(account: test, name: tester, key: Array("second".utf8), now: 9 * minute)
        try Self.fetch(&ahead, from: behind)
        #expect(ahead[name]?.key == Array("second".utf8))
        try behind.remove(account: test, name: tester, now: 9 * minute)
        try Self.fetch(&ahead, from: behind)
        #expect(ahead[name] == nil)
    }

    @Test func aRemovedUserDoesNotComeBack() throws {
        let away = try file()
        var users = away
        try users.remove(account: test, name: tester, now: 200)
        try Self.fetch(&users, from: away)
        #expect(users[name] == nil)
        var back = away
        try Self.fetch(&back, from: users)
        #expect(back[name] == nil)
    }

    @Test func linesThatAreNotSoundChangeNothing() throws {
        var users = try file()
        let before = users.serialized()
        var other = users
        try other.add(account: test, name: Array("a".utf8), key: [65], roles: [], now: 300)
        try other.setKey(account: test, name: tester, key: [66], now: 300)
        let sound = other.page(differingFrom: users.digests, after: [], limit: 1 << 20).lines
        let text = String(decoding: sound, as: UTF8.self)
        let foreign = UserFile(clusterKey: ClusterKey(secret: [1]))
        var hostile = [
            sound + Array("x".utf8), Array(sound.dropLast(3)), Array(text.replacing(" .admin ", with: " .king ").utf8),
            Array(text.replacing(" .admin ", with: " .reseller_admin ").utf8),
            Array(text.replacing(" .admin ", with: " removed ").utf8), Array("\u{0}\n".utf8) + sound,
            Array(text.replacing(" 300 ", with: " 18446744073709551615 ").utf8),
            Array(text.replacing(" 300 ", with: " 301 ").utf8),
        ]
        var theirs = foreign
        try theirs.add(account: test, name: Array("b".utf8), key: [65], roles: .resellerAdmin, now: 300)
        hostile.append(theirs.page(differingFrom: [], after: [], limit: 1 << 20).lines)
        for lines in hostile {
            #expect(throws: UserFile.Failure.self) { try users.merge(lines) }
            #expect(users.serialized() == before)
        }
        let merges = [try users.merge(sound), try users.merge(sound), try users.merge([])]
        #expect(merges.map(\.newer) == [2, 0, 0])
        #expect(merges.map(\.last) == [name, name, []])
        #expect(users.serialized() == other.serialized())
    }

    /// Nobody can sign in with a key that is empty, not even who writes the cluster's lines.
    @Test func aUserWithoutAKeyIsRefused() throws {
        var users = UserFile(clusterKey: Self.clusterKey)
        let user = UserFile.User(
            account: test, name: tester, roles: .admin, created: 1, changed: 1, generation: 1, key: [])
        let line = try UserEntry(user, isRemoved: false, box: users.box).line
        #expect(throws: UserFile.Failure.damagedLine(1)) { try users.merge(line) }
    }

    /// Nodes edit and ask each other at random, with clocks apart and answers cut short; in the end all are alike, and what is known of each name is
    /// the newest that anybody wrote.
    @Test(arguments: [UInt64.random(in: 0 ... .max), 1, 2, 3])
    func allNodesEndAlike(_ seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        var nodes = [UserFile](repeating: UserFile(clusterKey: Self.clusterKey), count: 4)
        var newest: [[UInt8]: UserEntry] = [:]
        let names = (0..<6).map { Array("u\($0)".utf8) }
        for step in 0..<400 {
            let node = Int.random(in: 0..<nodes.count, using: &random)
            let name = names.randomElement(using: &random) ?? []
            // Clocks are up to 50 steps apart.
            let now = UInt64(100 + step + node * 50 / 3)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: try? nodes[node].add(account: test, name: name, key: [65], roles: .admin, now: now)
            case 1: try? nodes[node].remove(account: test, name: name, now: now)
            case 2: try? nodes[node].setKey(account: test, name: name, key: [66], now: now)
            default:
                let other = nodes[Int.random(in: 0..<nodes.count, using: &random)]
                // One page of small ones: the rest is lost.
                let page = other.page(
                    differingFrom: nodes[node].digests, after: [], limit: Int.random(in: 1..<400, using: &random))
                try nodes[node].merge(page.lines)
            }
            for (name, entry) in nodes[node].entries where newest[name].map({ entry.isNewer(than: $0) }) ?? true {
                newest[name] = entry
            }
        }
        for _ in 0..<2 {
            for node in nodes.indices {
                for other in nodes { try Self.fetch(&nodes[node], from: other) }
            }
        }
        let expected = newest.values.filter { !$0.isRemoved }.map(\.line).sorted { $0.lexicographicallyPrecedes($1) }
        for node in nodes {
            #expect(node.serialized() == nodes[0].serialized(), "seed \(seed)")
            let lines = node.list.compactMap { node.entries[$0.qualifiedName]?.line }
            #expect(lines.sorted { $0.lexicographicallyPrecedes($1) } == expected, "seed \(seed)")
        }
    }
}
