import NIOCore
import Ring
import StorageWire

/// One message of each kind that version 2 of the wire has, with values that differ from field to field. `Tests/Fixtures/wire-2.txt` has the bytes
/// that the program of then made of them. Names may change since; bytes may not.
enum GoldenMessages {
    static let requests: [(name: String, message: StorageRequest)] = [
        (
            "putObject",
            .putObject(
                PutObject(address: address, timestamp: time(1), condition: .ifAbsent, row: row, head: head, body: body))
        ),
        ("openUpload", openUpload), ("chunk", chunk), ("commitUpload", commitUpload),
        ("readVersion", .readObject(ReadObject(address: address, wanted: .version, isOwn: true))),
        ("readObject", readObject), ("readBody", readBody),
        ("deleteObject", .deleteObject(DeleteObject(address: address, timestamp: time(3), row: row, name: bytes("o")))),
        (
            "updateObject",
            .updateObject(UpdateObject(address: address, timestamp: time(4), base: time(5), row: nil, head: head))
        ),
        ("putRow", .putRow(PutRow(table: container, row: tableRow))),
        (
            "updateTable",
            .updateTable(
                UpdateTable(
                    table: account, timestamp: time(6), creates: true, account: bytes("AUTH_a"), container: bytes("c"),
                    policy: UpdateTable.anyPolicy,
                    metadata: [ObjectHead.Header(name: bytes("X-Container-Meta-Colour"), value: bytes("red"))]))
        ),
        ("deleteTable", .deleteTable(DeleteTable(table: container, timestamp: time(7)))),
        ("readTable", .readTable(account)), ("listTable", .listTable(list)), ("status", .status),
        (
            "digests",
            .replication(
                .digests(DigestQuery(device: 1, policy: 2, partPower: 10, partitions: [3, 1023], mustBeForeign: true)))
        ),
        ("versions", .replication(.range(RangeQuery(device: 1, policy: 2, range: range, limit: 77)))),
        ("fetch", .replication(.fetch(FetchObjects(device: 1, source: 2, policy: 3, hashes: [hash, other])))),
        (
            "tables",
            .replication(
                .tables(TableQuery(device: 1, kind: .container, range: range, limit: 78, mustBeForeign: [4, 5])))
        ),
        ("rows", .replication(.rows(RowDigestQuery(table: container, deleted: true, after: bytes("m"))))),
        (
            "fetchTables",
            .replication(.fetchTables(FetchTables(device: 1, source: 2, kind: .account, hashes: [other])))
        ),
        ("head", .replication(.head(container))), ("list", .replication(.list(list))), ("workers", .workers),
        ("pauseWorker", .setWorker(SetWorker(name: "auditor", change: .pause))),
        ("paceWorker", .setWorker(SetWorker(name: "expirer", change: .pace(1234)))),
        ("verifyObject", .verifyObject(address)),
        ("prepareMap", .prepareMap(PrepareMap(version: 8, ballot: ballot))),
        ("acceptMap", .acceptMap(AcceptMap(version: 8, ballot: ballot, value: body))),
        ("learnMap", .learnMap(DecidedMap(version: 8, value: body))), ("readMap", .readMap(newerThan: 9)),
        ("changeMap", .changeMap(ByteBuffer(string: #"{"kind": "rebalance"}"#))),
    ]

    static let replies: [(name: String, message: StorageReply)] =
        [
            ("stored", .stored(rowStored: true)), ("accepted", .accepted(bytes: 1 << 20)),
            ("superseded", .superseded(time(10))), ("conditionFailed", .conditionFailed(time(11))),
            ("baseMismatch", .baseMismatch(time(12))), ("absent", .absent), ("tombstone", .tombstone(time(13))),
            ("object", .object(object(body: body))), ("objectToPull", .object(object(body: nil))),
            ("body", .body(body)),
            ("notEmpty", .notEmpty), ("policyConflict", .policyConflict(2)), ("table", .table(table)),
            ("tableStored", .tableStored(created: true)),
            ("listing", .listing(ListingReply(table: table, count: 3, entries: entries))), ("status", .status(status)),
            ("digests", .replication(.digests([1, .max]))),
            (
                "versions",
                .replication(
                    .versions(
                        VersionPage(
                            versions: [
                                ReplicaVersion(hash: hash, timestamp: time(14), kind: .live),
                                ReplicaVersion(hash: other, timestamp: time(15), kind: .tombstone),
                                ReplicaVersion(hash: other, timestamp: time(16), kind: .quarantined),
                            ], isWhole: true)))
            ),
            ("fetched", .replication(.fetched([true, false]))),
            (
                "tables",
                .replication(
                    .tables(
                        TablePage(
                            tables: [TableSummary(hash: hash, rows: 17, head: 18, lastChange: time(19))], isWhole: false
                        )))
            ),
            (
                "rows",
                .replication(.rows(RowDigestPage(chunks: [RowChunk(last: bytes("z"), digest: 20)], isWhole: true)))
            ),
            ("workers", .workers([worker])), ("verified", .verified(object(body: nil))),
            ("mapPromised", .mapPromised(MapPromise(accepted: nil))),
            (
                "mapPromisedWithValue",
                .mapPromised(MapPromise(accepted: AcceptedMap(ballot: ballot, value: body)))
            ),
            ("mapAccepted", .mapAccepted), ("mapRefused", .mapRefused(ballot)), ("mapStanding", .mapStanding(standing)),
            ("map", .map(standing, body)), ("mapChanged", .mapChanged(ByteBuffer(string: #"{"version": 9}"#))),
        ] + failures

    private static let failures: [(name: String, message: StorageReply)] = [
        .noDevice, .busy, .full, .io, .corrupt, .deadline, .malformed, .unreachable, .closing, .refused,
    ].map { (reason: StorageFailure.Reason) in
        ("failed.\(reason)", .failed(StorageFailure(reason, "why")))
    }

    static let openUpload = StorageRequest.openUpload(OpenUpload(address: address, expectedLength: -1))
    static let chunk = StorageRequest.chunk(UploadChunk(bytes: body))
    static let commitUpload = StorageRequest.commitUpload(
        CommitUpload(timestamp: time(2), condition: .none, row: row, head: head))
    static let readObject = StorageRequest.readObject(ReadObject(address: address, wanted: .body))
    static let readBody = StorageRequest.readBody(ReadBody(offset: 1 << 33, length: 1 << 20))

    private static let hash = PathHash(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)
    private static let other = PathHash(high: 0xf1f2_f3f4_f5f6_f7f8, low: 0xf9fa_fbfc_fdfe_ff00)
    private static let range = HashRange(first: hash, last: other)
    private static let address = ObjectAddress(device: 0x1112, policy: 0x13, hash: hash)
    private static let container = TableAddress(device: 0x1415, kind: .container, hash: other)
    private static let account = TableAddress(device: 0x1617, kind: .account, hash: hash)
    private static let row = RowTarget(device: 0x1819, container: other)
    private static let body = ByteBuffer(string: "a body")
    private static let head = ObjectHead(
        account: bytes("AUTH_a"), container: bytes("c"), object: bytes("o"), size: 6, etag: [UInt8](0..<16),
        contentType: bytes("text/plain"), deleteAt: 1_800_000_000,
        headers: [ObjectHead.Header(name: bytes("X-Object-Meta-Colour"), value: bytes("blue"))]
    ).encoded()
    private static let tableRow = TableRow(
        name: bytes("o"), timestamp: time(21), deleted: false, policy: 1, bytes: 22, count: 23,
        value: ObjectRowValue(etag: [UInt8](16..<32), contentType: bytes("text/html")).encoded())
    private static let list = ListTable(
        table: container, limit: 24, marker: bytes("a"), endMarker: bytes("y"), prefix: bytes("p"),
        delimiter: bytes("/"), reverse: true, includesDeleted: false, omitsSubdirectories: true)
    private static let ballot = MapBallot(round: 25, node: bytes("node"))
    private static let standing = MapStanding(node: bytes("node"), version: 26, clock: 27)
    private static let table = TableReply(
        head: ByteBuffer(string: "a head"), sums: [TableSum(policy: 1, rows: 28, bytes: 29, count: 30)], digest: 31,
        lastChange: time(32))
    private static let status = NodeStatus(
        ringsVersion: 33,
        devices: [
            DeviceStatus(
                device: 34, name: "d1", state: "behind", totalBytes: 35, freeBytes: 36, objects: 37, tombstones: 38,
                rows: 39, liveBytes: 40, garbageBytes: 41, queueDepth: 42, pendingUpdates: 43, quarantined: 44,
                commits: 45, committedRecords: 46, behindPartitions: 47, misplacedObjects: 48, misplacedBytes: 49,
                misplacedTables: 50, settledVersion: -1)
        ])
    private static let worker = WorkerReport(
        name: "auditor", state: "running", activity: "d1", unit: "bytes", done: 51, total: 52, rate: 53, errors: 54,
        lastError: "none", pace: 55, lastPass: nil)

    private static var entries: ByteBuffer {
        var buffer = ByteBuffer()
        var deleted = tableRow
        deleted.deleted = true
        for entry in [ListingEntry.row(tableRow), .row(deleted), .subdirectory(bytes("p/"))] {
            entry.encode(into: &buffer)
        }
        return buffer
    }

    private static func object(body: ByteBuffer?) -> ObjectReply {
        ObjectReply(timestamp: time(56), dataTimestamp: time(57), head: head, bodyLength: 6, body: body)
    }

    private static func time(_ number: UInt64) -> Timestamp { Timestamp(rawValue: 1_700_000_000_00000 << 8 | number) }
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}
