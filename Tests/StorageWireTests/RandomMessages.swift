import NIOCore
import Ring
import StorageWire

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Messages with random contents within their limits.
struct RandomMessages {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    static let requestKinds = 37
    static let replyKinds = 34

    mutating func request(_ kind: Int) -> StorageRequest {
        switch kind {
        case 0:
            .putObject(
                PutObject(
                    address: address(), timestamp: timestamp(), condition: flag() ? .none : .ifAbsent, row: rowTarget(),
                    head: buffer(200), body: buffer(70_000)))
        case 1: .openUpload(OpenUpload(address: address(), expectedLength: flag() ? -1 : length()))
        case 2: .chunk(UploadChunk(bytes: buffer(100_000)))
        case 3:
            .commitUpload(
                CommitUpload(
                    timestamp: timestamp(), condition: flag() ? .none : .ifAbsent, row: rowTarget(), head: buffer(200)))
        case 4: .readObject(ReadObject(address: address(), wanted: flag() ? .body : .version, isOwn: flag()))
        case 5: .readBody(ReadBody(offset: length(), length: below(ReadBody.maximumLength + 1)))
        case 6:
            .deleteObject(
                DeleteObject(address: address(), timestamp: timestamp(), row: rowTarget(), name: bytes(1024)))
        case 7:
            .updateObject(
                UpdateObject(
                    address: address(), timestamp: timestamp(), base: timestamp(), row: rowTarget(), head: buffer(200)))
        case 8: .putRow(PutRow(table: table(), row: row()))
        case 9:
            .updateTable(
                UpdateTable(
                    table: table(), timestamp: timestamp(), creates: flag(), account: bytes(256), container: bytes(256),
                    policy: integer(),
                    metadata: (0..<below(20)).map { _ in ObjectHead.Header(name: bytes(40), value: bytes(256)) }))
        case 10: .deleteTable(DeleteTable(table: table(), timestamp: timestamp()))
        case 11: .readTable(table())
        case 12:
            .listTable(
                ListTable(
                    table: table(), limit: below(ListTable.maximumLimit + 1), marker: bytes(100), endMarker: bytes(100),
                    prefix: bytes(100), delimiter: bytes(4), reverse: flag(), includesDeleted: flag(),
                    omitsSubdirectories: flag()))
        case 13: .status
        case 22: .workers
        case 23:
            .setWorker(
                SetWorker(name: String(text().prefix(20)), change: flag() ? .pace(length()) : flag() ? .pause : .resume)
            )
        case 24: .verifyObject(address())
        case 25: .prepareMap(PrepareMap(version: integer(), ballot: ballot()))
        case 26: .acceptMap(AcceptMap(version: integer(), ballot: ballot(), value: buffer(70_000)))
        case 27: .learnMap(DecidedMap(version: integer(), value: buffer(70_000)))
        case 28: .readMap(newerThan: integer())
        case 29: .changeMap(buffer(500))
        case 31: .program
        case 36:
            .users(
                UserQuery(
                    node: bytes(64), digests: (0..<below(UserQuery.maximumDigests + 1)).map { _ in integer() },
                    after: bytes(257)))
        case 35: .deleteAccount(DeleteAccount(table: table(), timestamp: timestamp(), account: bytes(256)))
        default: .replication(replication(kind))
        }
    }

    private mutating func replication(_ kind: Int) -> ReplicationRequest {
        let range = HashRange(first: hash(), last: hash())
        let hashes = (0..<below(100)).map { _ in hash() }
        return switch kind {
        case 14:
            .digests(
                DigestQuery(
                    device: integer(), policy: integer(), partPower: UInt8(below(33)),
                    partitions: (0..<below(100)).map { _ in integer() }, mustBeForeign: flag()))
        case 15:
            .versions(
                VersionQuery(
                    device: integer(), policy: integer(), partPower: below(33),
                    partitions: (0..<below(100)).map { _ in integer() }, first: hash(),
                    limit: below(VersionQuery.maximumLimit + 1)))
        case 16: .fetch(FetchObjects(device: integer(), source: integer(), policy: integer(), hashes: hashes))
        case 17:
            .tables(
                TableQuery(
                    device: integer(), kind: flag() ? .account : .container, range: range,
                    limit: below(TableQuery.maximumLimit + 1), mustBeForeign: (0..<below(100)).map { _ in integer() }))
        case 19: .head(table())
        case 20: .list(ListTable(table: table(), limit: below(ListTable.maximumLimit + 1), marker: bytes(100)))
        case 18: .rows(RowDigestQuery(table: table(), deleted: flag(), after: bytes(300)))
        case 33: .passes
        case 34:
            .reclaim(
                ReclaimTombstones(
                    device: integer(), policy: integer(),
                    tombstones: (0..<below(100)).map { _ in .init(hash: hash(), timestamp: timestamp()) }))
        case 32:
            .range(
                RangeQuery(
                    device: integer(), policy: integer(), range: range, limit: below(VersionQuery.maximumLimit + 1)))
        case 30: .objects(ObjectsQuery(device: integer(), policy: integer(), hashes: hashes))
        default:
            .fetchTables(
                FetchTables(
                    device: integer(), source: integer(), kind: flag() ? .account : .container, hashes: hashes))
        }
    }

    private mutating func replicationReply(_ kind: Int) -> ReplicationReply {
        switch kind {
        case 16: .digests((0..<below(100)).map { _ in integer() })
        case 17:
            .versions(
                VersionPage(
                    versions: (0..<below(100)).map { _ in
                        ReplicaVersion(
                            hash: hash(), timestamp: timestamp(), kind: [.live, .tombstone, .quarantined][below(3)])
                    }, isWhole: flag()))
        case 19:
            .rows(
                RowDigestPage(
                    chunks: (0..<below(100)).map { _ in RowChunk(last: bytes(300), digest: integer()) },
                    isWhole: flag()))
        case 31:
            .passes(
                (0..<below(50)).map { _ in SettledPass(device: integer(), ringsVersion: integer(), age: integer()) })
        case 32: .reclaimed(below(ReclaimTombstones.maximumTombstones + 1))
        case 29: .objects((0..<below(20)).map { _ in replicaObject() })
        case 18: .fetched((0..<below(100)).map { _ in flag() })
        default:
            .tables(
                TablePage(
                    tables: (0..<below(100)).map { _ in
                        TableSummary(hash: hash(), rows: integer(), head: integer(), lastChange: timestamp())
                    },
                    isWhole: flag()))
        }
    }

    private mutating func replicaObject() -> ReplicaObject {
        switch below(4) {
        case 0: .absent
        case 1: .tombstone(timestamp())
        case 2:
            .object(
                ObjectReply(
                    timestamp: timestamp(), dataTimestamp: timestamp(), head: buffer(200), bodyLength: length(),
                    body: flag() ? buffer(5_000) : nil))
        default: .failed(.corrupt)
        }
    }

    mutating func reply(_ kind: Int) -> StorageReply {
        switch kind {
        case 0: .stored(rowStored: flag())
        case 1: .accepted(bytes: Int(length()))
        case 2: .superseded(timestamp())
        case 3: .conditionFailed(timestamp())
        case 4: .baseMismatch(timestamp())
        case 5: .absent
        case 6: .tombstone(timestamp())
        case 7:
            .object(
                ObjectReply(
                    timestamp: timestamp(), dataTimestamp: timestamp(), head: buffer(200), bodyLength: length(),
                    body: flag() ? buffer(70_000) : nil))
        case 8: .body(buffer(100_000))
        case 9: .notEmpty
        case 10: .policyConflict(integer())
        case 11: .table(tableReply())
        case 12: .tableStored(created: flag())
        case 13: listing()
        case 14: .status(NodeStatus(ringsVersion: integer(), devices: (0..<below(12)).map { _ in device() }))
        case 21: .workers((0..<below(12)).map { _ in worker() })
        case 22:
            .verified(
                ObjectReply(
                    timestamp: timestamp(), dataTimestamp: timestamp(), head: buffer(200), bodyLength: length(),
                    body: nil))
        case 16..<21, 29, 31, 32: .replication(replicationReply(kind))
        case 23: .mapPromised(MapPromise(accepted: nil))
        case 24: .mapPromised(MapPromise(accepted: AcceptedMap(ballot: ballot(), value: buffer(70_000))))
        case 25: .mapAccepted
        case 26: .mapRefused(ballot())
        case 27: .mapStanding(standing())
        case 28: flag() ? .map(standing(), buffer(70_000)) : .mapChanged(buffer(500))
        case 30: .program(program())
        case 33: .users(UserPage(lines: buffer(70_000), isWhole: flag()))
        default:
            .failed(StorageFailure(StorageFailure.Reason.allCases.randomElement(using: &generator)!, text()))
        }
    }

    mutating func ballot() -> MapBallot { MapBallot(round: integer(), node: bytes(64)) }
    mutating func standing() -> MapStanding { MapStanding(node: bytes(64), version: integer(), clock: integer()) }
    mutating func program() -> ProgramReport {
        let versions = [integer(), integer()].map { WireVersion(rawValue: $0) }.sorted()
        return ProgramReport(version: text(), build: text(), wire: versions[0]...versions[1])
    }
    mutating func row() -> TableRow {
        TableRow(
            name: bytes(300), timestamp: timestamp(), deleted: flag(), policy: integer(), bytes: length(),
            count: length(), value: buffer(80))
    }

    mutating func buffer(_ limit: Int) -> ByteBuffer { ByteBuffer(bytes: bytes(limit)) }

    /// Up to `limit` bytes; often few, at times all.
    mutating func bytes(_ limit: Int) -> [UInt8] {
        let count = flag() ? below(min(limit, 16) + 1) : below(limit + 1)
        var bytes = [UInt8](repeating: 0, count: count)
        for index in stride(from: 0, to: count, by: 8) {
            let random = generator.next()
            for offset in 0..<min(8, count - index) {
                bytes[index + offset] = UInt8(truncatingIfNeeded: random >> UInt64(offset * 8))
            }
        }
        return bytes
    }

    mutating func below(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }
    mutating func flag() -> Bool { generator.next() & 1 == 1 }
    mutating func integer<T: FixedWidthInteger>() -> T { T(truncatingIfNeeded: generator.next()) }
    mutating func length() -> Int64 { Int64(generator.next() >> 1) }
    mutating func timestamp() -> Timestamp { Timestamp(rawValue: integer()) }
    mutating func text() -> String { String(bytes(60).map { Character(UnicodeScalar($0 & 0x7f)) }) }
    mutating func hash() -> PathHash { PathHash(high: integer(), low: integer()) }
    mutating func address() -> ObjectAddress { ObjectAddress(device: integer(), policy: integer(), hash: hash()) }

    mutating func table() -> TableAddress {
        TableAddress(device: integer(), kind: flag() ? .container : .account, hash: hash())
    }

    mutating func rowTarget() -> RowTarget? {
        flag() ? RowTarget(device: integer(), container: hash()) : nil
    }

    private mutating func tableReply() -> TableReply {
        TableReply(
            head: flag() ? buffer(300) : nil,
            sums: (0..<below(5)).map { _ in
                TableSum(policy: integer(), rows: length(), bytes: length(), count: length())
            },
            digest: integer(), lastChange: timestamp())
    }

    private mutating func listing() -> StorageReply {
        var entries = ByteBuffer()
        let count = below(50)
        for _ in 0..<count {
            (flag() ? ListingEntry.row(row()) : .subdirectory(bytes(50))).encode(into: &entries)
        }
        return .listing(ListingReply(table: tableReply(), count: count, entries: entries))
    }

    private mutating func worker() -> WorkerReport {
        WorkerReport(
            name: text(), state: text(), activity: text(), unit: text(), done: length(),
            total: flag() ? length() : nil, rate: length(), errors: length(), lastError: text(), pace: length(),
            lastPass: flag() ? length() : nil)
    }

    private mutating func device() -> DeviceStatus {
        DeviceStatus(
            device: integer(), name: text(), state: text(), totalBytes: length(), freeBytes: length(),
            objects: length(), tombstones: length(), rows: length(), liveBytes: length(), garbageBytes: length(),
            queueDepth: length(), pendingUpdates: length(), quarantined: length(), commits: length(),
            committedRecords: length(), behindPartitions: length(), misplacedObjects: length(),
            misplacedBytes: length(), misplacedTables: length(), settledVersion: flag() ? length() : -1)
    }
}

extension StorageRequest {
    /// The whole message in one piece.
    func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        if let body = encode(into: &buffer) { buffer.writeImmutableBuffer(body) }
        return buffer
    }
}

extension StorageReply {
    /// The whole message in one piece.
    func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        if let body = encode(into: &buffer) { buffer.writeImmutableBuffer(body) }
        return buffer
    }
}
