import DeviceLog
import NIOCore
import Ring
import StorageWire
import Testing

@testable import ObjectServer

struct ObjectReplicatorTests {
    private static let blobLength = 300_000
    private static let pattern = (0..<blobLength).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }

    @Test(arguments: [4, 17]) func whatOneReplicaMissedItGets(partPower: Int) async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: partPower)
        let keys = (0..<120 as Range<UInt64>).map { Self.key($0) }
        for (index, key) in keys.enumerated() {
            let primaries = cluster.primaries(key)
            // Each third object is missed by another replica, and one of them is missed by two.
            for (place, device) in primaries.enumerated() where place != index % 4 && !(index == 0 && place == 1) {
                let log = cluster.logs[device]!
                switch index % 5 {
                case 0: log.put(key, at: 10, text: "small \(index)")
                case 1:
                    log.put(key, at: 10, text: "updated \(index)")
                    _ = log.perform(
                        .updateMetadata(
                            key, timestamp: 12, baseDataTimestamp: 10, metadata: ByteBuffer(string: "newer")))
                case 2: _ = log.perform(.delete(key, timestamp: 20))
                case 3: try log.putBlob(key, at: 10, Self.pattern)
                default: log.put(key, at: 10, text: "")
                }
            }
            if index % 5 == 2, let late = primaries.dropFirst(index % 4).first {
                cluster.logs[late]!.put(key, at: 15, text: "deleted since")
            }
        }
        try await cluster.runPasses()
        for (index, key) in keys.enumerated() {
            for device in cluster.primaries(key) {
                let state = try cluster.logs[device]!.object(key, mayBlock: true)
                switch index % 5 {
                case 2: #expect(state.tombstone == 20, "object \(index) on \(device)")
                case 3: #expect(try state.body() == Self.pattern, "object \(index) on \(device)")
                case 1:
                    #expect(state.live?.timestamp == 12, "object \(index) on \(device)")
                    #expect(state.live?.dataTimestamp == 10)
                    #expect(state.live?.metadata == ByteBuffer(string: "newer"))
                    #expect(try state.body() == Array("updated \(index)".utf8))
                default: #expect(state.live?.timestamp == 10, "object \(index) on \(device)")
                }
            }
            for device in cluster.logs.keys where !cluster.primaries(key).contains(device) {
                #expect(try cluster.version(key, on: device) == .absent)
            }
        }
        try await cluster.runPasses()
        for replicator in cluster.replicators.values {
            #expect(replicator.figures.isComplete)
            #expect(replicator.figures.failedFetches == 0)
        }
        try await cluster.close()
    }

    @Test func whatIsMisplacedGoesWhereItBelongsAndIsGivenUp() async throws {
        let cluster = try ReplicaCluster(devices: 4, partPower: 4)
        let keys = (0..<50 as Range<UInt64>).map { Self.key($0) }
        for key in keys {
            let primaries = cluster.primaries(key)
            let handoff = (0..<4 as Range<UInt16>).first { !primaries.contains($0) }!
            for device in primaries.dropFirst() + [handoff] { cluster.logs[device]!.put(key, at: 10, text: "body") }
        }
        let away = cluster.primaries(keys[0])[0]
        cluster.setAway(away, true)
        try await cluster.runPasses()
        // Nobody gives up what a primary that is away may lack.
        for key in keys where cluster.primaries(key).contains(away) {
            let handoff = cluster.logs.keys.first { !cluster.primaries(key).contains($0) }!
            #expect(try cluster.version(key, on: handoff).kind == .live)
        }
        for (device, replicator) in cluster.replicators {
            let left = keys.count { !cluster.primaries($0).contains(device) && cluster.primaries($0).contains(away) }
            let remainder = replicator.remainder(of: device)
            #expect(remainder.misplacedObjects == (device == away ? 0 : Int64(left)))
            #expect((remainder.misplacedBytes > 0) == (remainder.misplacedObjects > 0))
            // It hears the others.
            #expect(remainder.settledVersion == (device == away ? 0 : nil))
        }
        cluster.setAway(away, false)
        for _ in 0..<2 { try await cluster.runPasses() }
        for (device, replicator) in cluster.replicators {
            #expect(replicator.remainder(of: device) == .init(settledVersion: 0))
        }
        for key in keys {
            for device in cluster.logs.keys {
                let expected: ObjectVersion.Kind = cluster.primaries(key).contains(device) ? .live : .absent
                #expect(try cluster.version(key, on: device).kind == expected)
            }
        }
        try await cluster.close()
    }

    @Test func tombstonesGoWhenAllReplicasHaveThemAndNobodyIsAway() async throws {
        let cluster = try ReplicaCluster(devices: 5, partPower: 4)
        let keys = (0..<40 as Range<UInt64>).map { Self.key($0) }
        for key in keys {
            for device in cluster.primaries(key) {
                cluster.logs[device]!.put(key, at: 10, text: "body")
                // One misses the deletion.
                if device != cluster.primaries(key)[1] {
                    _ = cluster.logs[device]!.perform(.delete(key, timestamp: 20))
                }
            }
        }
        let away = cluster.logs.keys.first { !cluster.primaries(keys[0]).contains($0) }!
        // It was a handoff, and has the object of before.
        cluster.logs[away]!.put(keys[0], at: 10, text: "body")
        func kinds(_ key: ObjectKey) throws -> Set<ObjectVersion.Kind> {
            Set(try cluster.primaries(key).map { try cluster.version(key, on: $0).kind })
        }
        // Young ones stay.
        for _ in 0..<3 { try await cluster.runPasses() }
        for key in keys { #expect(try kinds(key) == [.tombstone]) }
        #expect(try cluster.version(keys[0], on: away) == .absent)
        cluster.logs[away]!.put(keys[0], at: 12, text: "body")
        cluster.setClock(seconds: 1000)
        cluster.setAway(away, true)
        // Whoever is away may have what is deleted.
        for _ in 0..<3 {
            try await cluster.runPasses()
            try await Task.sleep(for: .milliseconds(20))
        }
        for key in keys where !cluster.primaries(key).contains(away) { #expect(try kinds(key) == [.tombstone]) }
        cluster.setAway(away, false)
        for _ in 0..<4 {
            try await cluster.runPasses()
            try await Task.sleep(for: .milliseconds(20))
        }
        for key in keys { #expect(try kinds(key) == [.absent]) }
        #expect(try cluster.version(keys[0], on: away) == .absent)
        let reclaimed = cluster.replicators.values.reduce(0) { $0 + $1.figures.reclaimedTombstones }
        #expect(reclaimed == Int64(3 * keys.count))
        #expect(cluster.logs.values.allSatisfy { $0.tombstones == 0 })
        try await cluster.close()
    }

    @Test func tombstonesOfEveryPolicyGo() async throws {
        let cluster = try ReplicaCluster(devices: 3, partPower: 4, policies: 0...1)
        let keys = (0..<20 as Range<UInt64>).map {
            ObjectKey(policy: UInt8($0 % 2), hash: Self.key($0).hash)
        }
        for key in keys {
            for log in cluster.logs.values { _ = log.perform(.delete(key, timestamp: 20)) }
        }
        cluster.setClock(seconds: 1000)
        // The first pass settles, the second gives up what is older.
        for _ in 0..<3 {
            try await cluster.runPasses()
            try await Task.sleep(for: .milliseconds(100))
        }
        for key in keys {
            for device in cluster.logs.keys { #expect(try cluster.version(key, on: device) == .absent) }
        }
        try await cluster.close()
    }

    @Test(arguments: [4, 17]) func theAmountInPartitionsIsCounted(partPower: Int) async throws {
        let cluster = try ReplicaCluster(devices: 3, partPower: partPower)
        let log = cluster.logs[0]!
        let keys = (0..<40 as Range<UInt64>).map { Self.key($0) }
        let partitions = Set(keys.prefix(10).map { UInt32($0.hash.partition(partPower: partPower)) }).sorted()
        let wanted = keys.filter { partitions.contains(UInt32($0.hash.partition(partPower: partPower))) }
        for (index, key) in keys.enumerated() {
            if index == 3 { try log.putBlob(key, at: 10, Self.pattern) } else { log.put(key, at: 10, text: "body") }
        }
        _ = log.perform(.delete(keys[1], timestamp: 20))
        let amount = try log.amount(policy: 0, partPower: partPower, partitions: partitions)
        #expect(amount.objects == Int64(wanted.count))
        let least = Int64(Self.blobLength)
        #expect((least..<least * 2).contains(amount.bytes))
        #expect(try log.amount(policy: 0, partPower: partPower, partitions: []).objects == 0)
        try await cluster.close()
    }

    @Test func aChangeOfTheRingMovesTheData() async throws {
        let cluster = try ReplicaCluster(devices: 5, partPower: 6)
        cluster.use(try ReplicaCluster.ring([0, 1, 2, 3], partPower: 6))
        let keys = (0..<300 as Range<UInt64>).map { Self.key($0) }
        for key in keys {
            for device in cluster.primaries(key) { cluster.logs[device]!.put(key, at: 10, text: "body") }
        }
        cluster.use(try ReplicaCluster.ring([1, 2, 3, 4], partPower: 6))
        for _ in 0..<2 { try await cluster.runPasses() }
        for key in keys {
            for device in cluster.logs.keys {
                let expected: ObjectVersion.Kind = cluster.primaries(key).contains(device) ? .live : .absent
                #expect(try cluster.version(key, on: device).kind == expected)
            }
        }
        #expect(cluster.logs[0]!.statistics().objects == 0)
        // And back: what was given up can come again at its own time.
        cluster.use(try ReplicaCluster.ring([0, 1, 2, 3], partPower: 6))
        for _ in 0..<2 { try await cluster.runPasses() }
        for key in keys {
            for device in cluster.primaries(key) { #expect(try cluster.version(key, on: device).kind == .live) }
        }
        #expect(cluster.logs[4]!.statistics().objects == 0)
        try await cluster.close()
    }

    @Test func aDamagedCopyIsReplacedWhenItIsRead() async throws {
        let cluster = try ReplicaCluster(devices: 3, partPower: 2)
        let key = Self.key(1)
        let marker = Array("a body that is found by its bytes".utf8)
        for log in cluster.logs.values { log.put(key, at: 10, text: String(decoding: marker, as: UTF8.self)) }
        let files = cluster.files[1]!
        #expect(files.flip(marker))
        #expect(throws: DeviceLogError.corrupt) { try cluster.logs[1]!.object(key, mayBlock: true) }
        for _ in 0..<100 where try cluster.logs[1]!.text(key) == nil { try await Task.sleep(for: .milliseconds(50)) }
        #expect(try cluster.logs[1]!.text(key) == String(decoding: marker, as: UTF8.self))
        #expect(cluster.logs[1]!.statistics().quarantined == 0)
        try await cluster.close()
    }

    @Test func whoIsBehindAnswersWithWhatTheOthersHave() async throws {
        let cluster = try ReplicaCluster(devices: 3, partPower: 3, newcomers: [2])
        let keys = (0..<20 as Range<UInt64>).map { Self.key($0) }
        for (index, key) in keys.enumerated() {
            // Acknowledged by the first two, or by one of them and the newcomer before its disk was emptied.
            cluster.logs[UInt16(index % 2)]!.put(key, at: 10, text: "body \(index)")
            if index % 3 == 0 { cluster.logs[UInt16(1 - index % 2)]!.put(key, at: 10, text: "body \(index)") }
        }
        let log = cluster.logs[2]!
        #expect(log.isBehind)
        cluster.setAway(0, true)
        guard case .failed(let failure) = try await cluster.read(keys[1], on: 2, .body) else {
            Issue.record("it has a say without the others")
            return
        }
        #expect(failure.reason == .unreachable)
        cluster.setAway(0, false)
        for (index, key) in keys.enumerated() {
            let wanted: ReadObject.Wanted = index % 4 == 0 ? .version : .body
            guard case .object(let object) = try await cluster.read(key, on: 2, wanted) else {
                Issue.record("object \(index) is absent")
                continue
            }
            #expect(object.timestamp.rawValue == 10)
            if wanted == .body { #expect(object.body == ByteBuffer(string: "body \(index)")) }
        }
        guard case .absent = try await cluster.read(Self.key(1000), on: 2, .body) else {
            Issue.record("what nobody has is not absent")
            return
        }
        // One of the others is not enough to have caught up with.
        cluster.setAway(1, true)
        try await cluster.runPasses()
        #expect(log.isBehind)
        cluster.setAway(1, false)
        try await cluster.runPasses()
        #expect(!log.isBehind)
        for key in keys { #expect(try log.version(of: key).timestamp == 10) }
        try await cluster.close()
    }

    @Test func replicasThatWentApartAgreeInTheEnd() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SplitMix(seed: seed)
        let cluster = try ReplicaCluster(devices: 5, partPower: 3)
        let keys = (0..<150 as Range<UInt64>).map { Self.key($0) }
        for _ in 0..<1500 {
            let key = keys.randomElement(using: &generator)!
            let timestamp = UInt64.random(in: 1...60, using: &generator)
            // Anywhere, handoffs too.
            let log = cluster.logs[UInt16.random(in: 0..<5, using: &generator)]!
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5: log.put(key, at: timestamp, text: "at \(timestamp)")
            case 5..<8: _ = log.perform(.delete(key, timestamp: timestamp))
            default:
                guard case .live(let object) = try log.object(key, mayBlock: true) else { continue }
                _ = log.perform(
                    .updateMetadata(
                        key, timestamp: timestamp, baseDataTimestamp: object.dataTimestamp,
                        metadata: ByteBuffer(string: "updated \(timestamp)")))
            }
        }
        var newest: [ObjectKey: ReplicaVersion] = [:]
        for key in keys {
            for device in cluster.logs.keys {
                let version = try cluster.version(key, on: device)
                guard let kind = ReplicaVersion.Kind(version.kind) else { continue }
                let found = ReplicaVersion(
                    hash: key.hash, timestamp: Timestamp(rawValue: version.timestamp), kind: kind)
                if newest[key].map({ VersionDifference.isBetter(found, than: $0) }) ?? true { newest[key] = found }
            }
        }
        for _ in 0..<3 { try await cluster.runPasses() }
        for key in keys {
            for device in cluster.logs.keys {
                let version = try cluster.version(key, on: device)
                guard cluster.primaries(key).contains(device) else {
                    #expect(version == .absent, "seed \(seed)")
                    continue
                }
                #expect(version.timestamp == newest[key]?.timestamp.rawValue ?? 0, "seed \(seed)")
                #expect(ReplicaVersion.Kind(version.kind) == newest[key]?.kind, "seed \(seed)")
            }
        }
        try await cluster.close()
    }

    static func key(_ number: UInt64) -> ObjectKey {
        var generator = SplitMix(seed: number)
        return ObjectKey(policy: 0, hash: PathHash(high: generator.next(), low: generator.next()))
    }
}

/// SplitMix64.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

extension DeviceLog {
    func put(_ key: ObjectKey, at timestamp: UInt64, text: String) {
        let outcome = perform(
            .put(
                key, timestamp: timestamp, metadata: ByteBuffer(string: "head"),
                body: .inline(ByteBuffer(string: text))))
        if case .stored(let position) = outcome { confirm(position) }
    }

    func putBlob(_ key: ObjectKey, at timestamp: UInt64, _ body: [UInt8]) throws {
        let blob = try stageBlob(expectedLength: Int64(body.count))
        try blob.append(ByteBuffer(bytes: body))
        try blob.seal()
        _ = perform(.put(key, timestamp: timestamp, metadata: ByteBuffer(string: "head"), body: .blob(blob)))
    }

    /// Nil when it cannot be read.
    func text(_ key: ObjectKey) throws -> String? {
        guard let state = try? object(key, mayBlock: true) else { return nil }
        return String(decoding: try state.body(), as: UTF8.self)
    }
}

extension ObjectState {
    var live: StoredObject? {
        if case .live(let object) = self { object } else { nil }
    }

    var tombstone: UInt64? {
        if case .tombstone(let timestamp) = self { timestamp } else { nil }
    }

    func body() throws -> [UInt8] {
        switch live?.body {
        case .inline(let bytes): Array(bytes.readableBytesView)
        case .blob(let reader):
            Array(try reader.read(offset: 0, length: Int(reader.length), mayBlock: true).readableBytesView)
        case nil: []
        }
    }
}

extension FaultyFileSystem {
    /// Flips a bit where these bytes are in a segment of the log.
    func flip(_ wanted: [UInt8]) -> Bool {
        for (path, length) in contents() where path.hasSuffix(".segment") {
            guard let file = try? open(path, .read) else { continue }
            var bytes = [UInt8](repeating: 0, count: length)
            _ = bytes.withUnsafeMutableBytes { try? file.read(into: $0, at: 0) }
            let start = (0..<max(0, length - wanted.count)).first {
                bytes[$0..<$0 + wanted.count].elementsEqual(wanted)
            }
            if let start { return flipBit(path, at: start + 3, bit: 2) }
        }
        return false
    }
}
