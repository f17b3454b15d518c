import Daemon
import Glibc
import Ring
import StorageWire
import Testing

@testable import ClusterMap

struct ClusterMapTests {
    static let first = "00000000000000000000000000000001"
    static let second = "00000000000000000000000000000002"

    static func node(_ id: String, _ name: String, zone: Int = 0, role: NodeRole = .all) -> MapNode {
        MapNode(
            id: id, name: name, host: "10.0.0.\(name.utf8.count)", storagePort: 6200, apiPort: 8080, role: role,
            region: 1, zone: zone)
    }

    static func token(_ id: String, node: String, expiry: Int = 2_000_000) -> UsedToken {
        UsedToken(id: id, expiry: expiry, node: node)
    }

    /// A node with four devices, which have partitions.
    static func lone() throws -> ClusterMap {
        var builder = try RingBuilder(partPower: 7, replicas: 3, minPartHours: 24)
        for number in 1...4 {
            try builder.add(RingDevice(zone: number, ip: "127.0.0.1", port: 6200, device: "d\(number)", weight: 100))
        }
        try builder.rebalance(now: 1_000_000)
        return try ClusterMap.first(
            clusterID: "c", node: node(first, "a", zone: 1),
            builders: PerRing(account: builder, container: builder, object: builder))
    }

    static func pair() throws -> ClusterMap {
        let device = NewDevice(name: "d1", path: "devices/d1", weight: 100)
        return try lone().applying(
            .addNode(node(second, "bb"), devices: [device], token: token("t", node: second)), id: "x", now: 1_000_001
        ).map
    }

    @Test func aMapComesBackFromItsBytes() throws {
        let map = try Self.pair()
        let read = try ClusterMap(decoding: map.encoded())
        #expect(read.encoded() == map.encoded())
        #expect(read.nodes == map.nodes)
        #expect(read.devices == map.devices)
        #expect(read.usedTokens == map.usedTokens)
        #expect(read.previous != nil)
        #expect(read.version == 2)
    }

    @Test func encryptionIsChangedAndKept() throws {
        let map = try Self.pair()
        #expect(!map.encryptsLinks)
        let on = try map.applying(.encryptLinks(true), id: "on", now: 1_000_002)
        #expect(on.map.encryptsLinks && on.moved.all == [0, 0, 0])
        let read = try ClusterMap(decoding: on.map.encoded())
        #expect(read.encryptsLinks && read.version == 3)
        // Another change leaves it as it is.
        let weighed = try read.applying(.setWeight(id: 1, weight: 5), id: "weight", now: 1_000_003)
        #expect(weighed.map.encryptsLinks)
        #expect(try !weighed.map.applying(.encryptLinks(false), id: "off", now: 1_000_004).map.encryptsLinks)
    }

    /// Maps of before there was encryption.
    @Test func aMapThatDoesNotSayIsInTheClear() throws {
        var bytes = try Self.pair().encoded()
        let member = Array("\"encryption\"".utf8)
        let start = try #require(bytes.indices.first { bytes[$0...].starts(with: member) })
        bytes.replaceSubrange(start..<start + member.count, with: Array("\"encryptiom\"".utf8))
        #expect(try !ClusterMap(decoding: bytes).encryptsLinks)
    }

    @Test func damagedMapsAreRefused() throws {
        let bytes = try Self.pair().encoded()
        for cut in stride(from: 0, to: bytes.count, by: 97) {
            #expect(throws: ClusterMapError.self) { try ClusterMap(decoding: Array(bytes[..<cut])) }
        }
        #expect(throws: ClusterMapError.self) { try ClusterMap(decoding: bytes + [0]) }
    }

    @Test func aNodeGetsItsPart() throws {
        let map = try Self.pair()
        #expect(map.nodes.map(\.zone) == [1, 2])
        #expect(map.devices.last?.id == 4)
        for builder in map.builders.all {
            #expect(builder.partsByDevice[4] > 60)
            // A lone node's devices become one zone when another node comes.
            #expect(builder.devices.compactMap { $0?.zone } == [1, 1, 1, 1, 2])
            #expect(builder.devices[0]?.ip == "10.0.0.1")
        }
    }

    /// Whatever `min_part_hours` says, and no partition with two replicas at once.
    @Test func oneReplicaOfAPartitionMoves() throws {
        var before = try Self.pair()
        for name in ["d2", "d3"] {
            let device = NewDevice(name: name, path: name, weight: 100)
            before = try before.applying(.addDevice(node: "bb", device), id: name, now: 1_000_002).map
        }
        before = try before.applying(.rebalance(settled: true), id: "s", now: 1_000_002).map
        before.previous = nil
        let after = try before.applying(.drainNode(name: "a"), id: "y", now: 1_000_002)
        #expect(after.moved.object > 0)
        let (old, new) = (before.rings.object, after.map.rings.object)
        for partition in 0..<old.partitionCount {
            let kept = Set(old.primaries(of: partition)).intersection(new.primaries(of: partition))
            #expect(kept.count >= 2)
        }
    }

    /// Two changes in a row leave a majority of every partition's replicas where they were before both.
    @Test func partitionsOnTheirWayRest() throws {
        let lone = try Self.lone()
        let pair = try Self.pair()
        let third = Self.node("00000000000000000000000000000003", "ccc")
        let device = NewDevice(name: "d1", path: "devices/d1", weight: 100)
        let change = MapChange.addNode(third, devices: [device], token: Self.token("u", node: third.id))
        let both = try pair.applying(change, id: "y", now: 1_000_002)
        #expect(both.moved.object > 0)
        #expect(both.resting.object > 0)
        let (old, new) = (lone.rings.object, both.map.rings.object)
        for partition in 0..<old.partitionCount {
            #expect(Set(old.primaries(of: partition)).intersection(new.primaries(of: partition)).count >= 2)
        }
        // Where all data was before either of them.
        let previous = try #require(both.map.previous).object
        for partition in 0..<old.partitionCount {
            #expect(previous.primaries(of: partition).map { $0 } == old.primaries(of: partition).map { $0 })
        }
        let settled = try both.map.applying(.rebalance(settled: true), id: "z", now: 1_000_003)
        #expect(settled.moved.object > 0)
        #expect(settled.resting.object == 0)
    }

    @Test func aTokenIsGoodOnce() throws {
        let map = try Self.pair()
        let third = Self.node("00000000000000000000000000000003", "ccc")
        #expect(throws: MapRefusal.self) {
            try map.applying(
                .addNode(third, devices: [], token: Self.token("t", node: third.id)), id: "y", now: 1_000_002)
        }
        #expect(throws: MapRefusal.self) {
            try map.applying(
                .addNode(third, devices: [], token: Self.token("u", node: third.id, expiry: 1_000_001)), id: "y",
                now: 1_000_002
            )
        }
        let joined = try map.applying(
            .addNode(third, devices: [], token: Self.token("u", node: third.id)), id: "y", now: 1_000_002)
        #expect(joined.moved == PerRing(account: 0, container: 0, object: 0))
        // Forgotten when it could not be used any more.
        let later = try joined.map.applying(.rebalance(settled: false), id: "z", now: 3_000_000).map
        #expect(later.usedTokens.isEmpty)
    }

    @Test func namesAndAddressesAreUnique() throws {
        let map = try Self.pair()
        var sameName = Self.node("00000000000000000000000000000003", "bb")
        sameName.host = "10.9.9.9"
        #expect(throws: MapRefusal.self) {
            try map.applying(
                .addNode(sameName, devices: [], token: Self.token("u", node: sameName.id)), id: "y", now: 1_000_002)
        }
        #expect(throws: MapRefusal.self) {
            try map.applying(
                .moveNode(id: Self.second, host: "10.0.0.1", storagePort: 6200, apiPort: 0), id: "y", now: 1_000_002)
        }
    }

    @Test func aChangeIsMadeOnce() throws {
        let map = try Self.pair()
        let once = try map.applying(.setWeight(id: 4, weight: 50), id: "y", now: 1_000_002)
        let twice = try once.map.applying(.setWeight(id: 4, weight: 50), id: "y", now: 1_000_003)
        #expect(twice.map.version == once.map.version)
        #expect(twice.moved == PerRing(account: 0, container: 0, object: 0))
    }

    @Test func devicesComeAndGo() throws {
        var map = try Self.pair()
        let device = NewDevice(name: "d2", path: "/disks/d2", weight: 100)
        map = try map.applying(.addDevice(node: "bb", device), id: "1", now: 1_000_002).map
        #expect(map.devices.last?.id == 5)
        #expect(throws: MapRefusal.self) { try map.applying(.addDevice(node: "bb", device), id: "2", now: 1_000_003) }
        #expect(throws: MapRefusal.self) {
            try map.applying(.removeDevice(id: 5, force: false), id: "3", now: 1_000_004)
        }
        map = try map.applying(.rebalance(settled: true), id: "s", now: 1_000_004).map
        map.previous = nil
        map = try map.applying(.drainDevice(id: 5), id: "4", now: 1_000_005).map
        #expect(map.builders.all.allSatisfy { $0.partsByDevice[5] == 0 })
        map = try map.applying(.removeDevice(id: 5, force: false), id: "5", now: 1_000_006).map
        #expect(map.builders.all.allSatisfy { $0.devices[5] == nil })
        // The number is not given again: old rings may still be in use.
        map = try map.applying(.addDevice(node: "bb", device), id: "6", now: 1_000_007).map
        #expect(map.devices.last?.id == 6)
    }

    @Test func whatCannotBeIsRefused() throws {
        let map = try Self.lone()
        #expect(throws: MapRefusal.self) {
            try map.applying(.removeNode(name: "a", force: true), id: "1", now: 1_000_002)
        }
        #expect(throws: MapRefusal.self) { try map.applying(.drainNode(name: "a"), id: "1", now: 1_000_002) }
        #expect(throws: MapRefusal.self) { try map.applying(.drainNode(name: "none"), id: "1", now: 1_000_002) }
        #expect(throws: MapRefusal.self) { try map.applying(.drainDevice(id: 9), id: "1", now: 1_000_002) }
    }

    @Test func changesTravelAsJSON() throws {
        let node = Self.node(Self.second, "bb")
        let device = NewDevice(name: "d1", path: "/d1", weight: 2.5)
        let changes: [MapChange] = [
            .addNode(node, devices: [device], token: Self.token("t", node: node.id)),
            .moveNode(id: node.id, host: "h", storagePort: 1, apiPort: 0), .drainNode(name: "bb"),
            .removeNode(name: "bb", force: true), .addDevice(node: "bb", device), .drainDevice(id: 1),
            .removeDevice(id: 1, force: false), .replaceDevice(id: 1, path: "/x"), .setWeight(id: 1, weight: 3),
            .rebalance(settled: true), .rebalance(settled: false), .settle(version: 7),
            .encryptLinks(true), .encryptLinks(false),
        ]
        for change in changes {
            #expect(MapChange(json: try JSONValue(parsing: change.json.encoded)) == change)
        }
        #expect(MapChange(json: .object([])) == nil)
        #expect(MapChange(json: .object([JSONMember("change", .string("drain-node"))])) == nil)
    }

    @Test func aMapFileIsWrittenBeforeAnswers() throws {
        var template = Array("/tmp/ringfort-map-XXXXXX".utf8CString)
        let folder = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        let path = folder + "/cluster.map"
        defer {
            unlink(path)
            rmdir(folder)
        }
        let file = try MapFile(path: path)
        #expect(file.current == MapAcceptor())
        let ballot = MapBallot(round: 1, node: [1])
        #expect(try file.update { $0.prepare(version: 1, ballot) } == .promised(nil))
        #expect(try MapFile(path: path).current == MapAcceptor(promised: ballot))
        #expect(try file.update { $0.accept(version: 1, ballot, [7]) } == .accepted)
        #expect(try MapFile(path: path).current == file.current)
        // What can't be written is not known either.
        unlink(path)
        rmdir(folder)
        #expect(throws: FileError.self) { try file.update { $0.learn(version: 1, [7]) } }
        #expect(file.current.version == 0)
    }

    @Test func whatAMemberHasPromisedSurvives() throws {
        let acceptor = MapAcceptor(
            version: 3, value: [1, 2, 3], promised: MapBallot(round: 9, node: [1]),
            accepted: MapAcceptor.Accepted(ballot: MapBallot(round: 8, node: [2]), value: [4]))
        let bytes = MapFile.encode(acceptor)
        #expect(try MapFile.decode(bytes) == acceptor)
        #expect(try MapFile.decode(MapFile.encode(MapAcceptor())) == MapAcceptor())
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1
            #expect(throws: ClusterMapError.self) { try MapFile.decode(damaged) }
        }
    }
}
