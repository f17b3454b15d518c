import NIOCore
import Ring

extension ReplicationRequest {
    private enum Kind: UInt8 {
        case digests = 1
        case range = 2
        case fetch = 3
        case tables = 4
        case fetchTables = 5
        case rows = 6
        case head = 7
        case list = 8
        case objects = 9
        case versions = 10
        case passes = 11
        case reclaim = 12
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .digests(let query):
            buffer.writeMultipleIntegers(Kind.digests.rawValue, query.device, query.policy, query.partPower)
            buffer.write(query.mustBeForeign)
            buffer.write(query.partitions)
        case .range(let query):
            buffer.writeMultipleIntegers(Kind.range.rawValue, query.device, query.policy)
            buffer.write(query.range)
            buffer.writeInteger(UInt32(query.limit))
        case .versions(let query):
            buffer.writeMultipleIntegers(Kind.versions.rawValue, query.device, query.policy, query.partPower)
            buffer.write(query.partitions)
            buffer.write(query.first)
            buffer.writeInteger(UInt32(query.limit))
        case .fetch(let fetch):
            buffer.writeMultipleIntegers(Kind.fetch.rawValue, fetch.device, fetch.source, fetch.policy)
            buffer.write(fetch.hashes)
        case .objects(let query):
            buffer.writeMultipleIntegers(Kind.objects.rawValue, query.device, query.policy)
            buffer.write(query.hashes)
        case .passes: buffer.writeInteger(Kind.passes.rawValue)
        case .reclaim(let reclaim):
            buffer.writeMultipleIntegers(Kind.reclaim.rawValue, reclaim.device, reclaim.policy)
            buffer.writeInteger(UInt32(reclaim.tombstones.count))
            for tombstone in reclaim.tombstones {
                buffer.write(tombstone.hash)
                buffer.write(tombstone.timestamp)
            }
        case .tables(let query):
            buffer.writeMultipleIntegers(Kind.tables.rawValue, query.device, query.kind.rawValue)
            buffer.write(query.range)
            buffer.writeInteger(UInt32(query.limit))
            buffer.write(query.mustBeForeign)
        case .rows(let query):
            buffer.writeInteger(Kind.rows.rawValue)
            buffer.write(query.table)
            buffer.write(query.deleted)
            buffer.writeShortBytes(query.after)
        case .head(let table):
            buffer.writeInteger(Kind.head.rawValue)
            buffer.write(table)
        case .list(let list):
            buffer.writeInteger(Kind.list.rawValue)
            list.encode(into: &buffer)
        case .fetchTables(let fetch):
            buffer.writeMultipleIntegers(Kind.fetchTables.rawValue, fetch.device, fetch.source, fetch.kind.rawValue)
            buffer.write(fetch.hashes)
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw .unsupported("replication request \(number)") }
        switch kind {
        case .digests:
            var query = DigestQuery(
                device: try reader.integer(), policy: try reader.integer(), partPower: try reader.partPower(),
                partitions: [])
            query.mustBeForeign = try reader.flag()
            query.partitions = try reader.partitions()
            self = .digests(query)
        case .range:
            self = .range(
                RangeQuery(
                    device: try reader.integer(), policy: try reader.integer(), range: try reader.hashRange(),
                    limit: try reader.number(atMost: VersionQuery.maximumLimit)))
        case .versions:
            var query = VersionQuery(
                device: try reader.integer(), policy: try reader.integer(), partPower: 0, partitions: [])
            query.partPower = try reader.partPower()
            query.partitions = try reader.partitions()
            query.first = try reader.hash()
            query.limit = try reader.number(atMost: VersionQuery.maximumLimit)
            self = .versions(query)
        case .fetch:
            self = .fetch(
                FetchObjects(
                    device: try reader.integer(), source: try reader.integer(), policy: try reader.integer(),
                    hashes: try reader.hashes(atMost: FetchObjects.maximumHashes)))
        case .objects:
            self = .objects(
                ObjectsQuery(
                    device: try reader.integer(), policy: try reader.integer(),
                    hashes: try reader.hashes(atMost: ObjectsQuery.maximumHashes)))
        case .passes: self = .passes
        case .reclaim:
            var reclaim = ReclaimTombstones(
                device: try reader.integer(), policy: try reader.integer(), tombstones: [])
            let count = try reader.elements(atMost: ReclaimTombstones.maximumTombstones, size: 24)
            reclaim.tombstones.reserveCapacity(count)
            for _ in 0..<count {
                reclaim.tombstones.append(
                    ReclaimTombstones.Tombstone(hash: try reader.hash(), timestamp: try reader.timestamp()))
            }
            self = .reclaim(reclaim)
        case .tables:
            self = .tables(
                TableQuery(
                    device: try reader.integer(), kind: try reader.tableKind(), range: try reader.hashRange(),
                    limit: try reader.number(atMost: TableQuery.maximumLimit),
                    mustBeForeign: try reader.partitions()))
        case .rows:
            self = .rows(
                RowDigestQuery(
                    table: try reader.tableAddress(), deleted: try reader.flag(), after: try reader.shortBytes()))
        case .head: self = .head(try reader.tableAddress())
        case .list: self = .list(try ListTable(from: &reader))
        case .fetchTables:
            self = .fetchTables(
                FetchTables(
                    device: try reader.integer(), source: try reader.integer(), kind: try reader.tableKind(),
                    hashes: try reader.hashes(atMost: FetchTables.maximumHashes)))
        }
    }
}

extension ReplicationReply {
    private enum Kind: UInt8 {
        case digests = 1
        case versions = 2
        case fetched = 3
        case tables = 4
        case rows = 5
        case objects = 6
        case passes = 7
        case reclaimed = 8
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .digests(let digests):
            buffer.writeInteger(Kind.digests.rawValue)
            buffer.writeInteger(UInt32(digests.count))
            for digest in digests { buffer.writeInteger(digest) }
        case .versions(let page):
            buffer.writeInteger(Kind.versions.rawValue)
            buffer.write(page.isWhole)
            buffer.writeInteger(UInt32(page.versions.count))
            for version in page.versions {
                buffer.write(version.hash)
                buffer.write(version.timestamp)
                buffer.writeInteger(version.kind.rawValue)
            }
        case .fetched(let flags):
            buffer.writeInteger(Kind.fetched.rawValue)
            buffer.writeInteger(UInt32(flags.count))
            for flag in flags { buffer.write(flag) }
        case .objects(let objects):
            buffer.writeInteger(Kind.objects.rawValue)
            buffer.writeInteger(UInt32(objects.count))
            for object in objects { object.encode(into: &buffer) }
        case .passes(let passes):
            buffer.writeInteger(Kind.passes.rawValue)
            buffer.writeInteger(UInt32(passes.count))
            for pass in passes { buffer.writeMultipleIntegers(pass.device, pass.ringsVersion, pass.age) }
        case .reclaimed(let count): buffer.writeMultipleIntegers(Kind.reclaimed.rawValue, UInt32(count))
        case .tables(let page):
            buffer.writeInteger(Kind.tables.rawValue)
            buffer.write(page.isWhole)
            buffer.writeInteger(UInt32(page.tables.count))
            for table in page.tables {
                buffer.write(table.hash)
                buffer.writeMultipleIntegers(table.rows, table.head)
                buffer.write(table.lastChange)
            }
        case .rows(let page):
            buffer.writeInteger(Kind.rows.rawValue)
            buffer.write(page.isWhole)
            buffer.writeInteger(UInt32(page.chunks.count))
            for chunk in page.chunks {
                buffer.writeShortBytes(chunk.last)
                buffer.writeInteger(chunk.digest)
            }
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw .malformed("replication reply \(number)") }
        switch kind {
        case .digests:
            let count = try reader.elements(atMost: DigestQuery.maximumPartitions, size: 8)
            var digests: [UInt64] = []
            digests.reserveCapacity(count)
            for _ in 0..<count { digests.append(try reader.integer()) }
            self = .digests(digests)
        case .versions:
            var page = VersionPage(versions: [], isWhole: try reader.flag())
            let count = try reader.elements(atMost: VersionQuery.maximumLimit, size: 25)
            page.versions.reserveCapacity(count)
            for _ in 0..<count { page.versions.append(try reader.replicaVersion()) }
            self = .versions(page)
        case .fetched:
            let count = try reader.elements(atMost: FetchObjects.maximumHashes, size: 1)
            var flags: [Bool] = []
            for _ in 0..<count { flags.append(try reader.flag()) }
            self = .fetched(flags)
        case .objects:
            let count = try reader.elements(atMost: ObjectsQuery.maximumHashes, size: 1)
            var objects: [ReplicaObject] = []
            objects.reserveCapacity(count)
            for _ in 0..<count { objects.append(try ReplicaObject(from: &reader)) }
            self = .objects(objects)
        case .passes:
            let count = try reader.elements(atMost: SettledPass.maximumDevices, size: 18)
            var passes: [SettledPass] = []
            for _ in 0..<count {
                passes.append(
                    SettledPass(
                        device: try reader.integer(), ringsVersion: try reader.integer(), age: try reader.integer()))
            }
            self = .passes(passes)
        case .reclaimed: self = .reclaimed(try reader.number(atMost: ReclaimTombstones.maximumTombstones))
        case .tables:
            var page = TablePage(tables: [], isWhole: try reader.flag())
            let count = try reader.elements(atMost: TableQuery.maximumLimit, size: 40)
            page.tables.reserveCapacity(count)
            for _ in 0..<count {
                page.tables.append(
                    TableSummary(
                        hash: try reader.hash(), rows: try reader.integer(), head: try reader.integer(),
                        lastChange: try reader.timestamp()))
            }
            self = .tables(page)
        case .rows:
            var page = RowDigestPage(chunks: [], isWhole: try reader.flag())
            let count = try reader.elements(atMost: RowDigestQuery.maximumChunks, size: 10)
            page.chunks.reserveCapacity(count)
            for _ in 0..<count {
                page.chunks.append(RowChunk(last: try reader.shortBytes(), digest: try reader.integer()))
            }
            self = .rows(page)
        }
    }
}

extension ReplicaObject {
    private enum Kind: UInt8 {
        case absent = 0
        case tombstone = 1
        case object = 2
        /// An object without its body.
        case head = 3
        case failed = 4
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .absent: buffer.writeInteger(Kind.absent.rawValue)
        case .tombstone(let timestamp):
            buffer.writeInteger(Kind.tombstone.rawValue)
            buffer.write(timestamp)
        case .object(let object):
            buffer.writeInteger(object.body == nil ? Kind.head.rawValue : Kind.object.rawValue)
            buffer.write(object.timestamp)
            buffer.write(object.dataTimestamp)
            buffer.writeInteger(object.bodyLength)
            buffer.writeSlice(object.head)
            if let body = object.body { buffer.writeSlice(body) }
        case .failed(let reason): buffer.writeMultipleIntegers(Kind.failed.rawValue, reason.rawValue)
        }
    }

    fileprivate init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw .malformed("replica object \(number)") }
        switch kind {
        case .absent: self = .absent
        case .tombstone: self = .tombstone(try reader.timestamp())
        case .object, .head:
            var object = ObjectReply(
                timestamp: try reader.timestamp(), dataTimestamp: try reader.timestamp(), head: ByteBuffer(),
                bodyLength: try reader.number(), body: nil)
            object.head = try reader.slice()
            if kind == .object { object.body = try reader.slice() }
            self = .object(object)
        case .failed:
            let number = try reader.integer(UInt8.self)
            guard let reason = StorageFailure.Reason(rawValue: number) else { throw .malformed("failure \(number)") }
            self = .failed(reason)
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func write(_ range: HashRange) {
        write(range.first)
        write(range.last)
    }

    fileprivate mutating func write(_ partitions: [UInt32]) {
        writeInteger(UInt32(partitions.count))
        for partition in partitions { writeInteger(partition) }
    }

    fileprivate mutating func write(_ hashes: [PathHash]) {
        writeInteger(UInt32(hashes.count))
        for hash in hashes { write(hash) }
    }
}

extension WireReader {
    /// A 32-bit number of elements of at least `size` bytes each, so that nothing is allocated for what cannot be there.
    fileprivate mutating func elements(atMost limit: Int, size: Int) throws(WireError) -> Int {
        let count = try number(atMost: limit)
        guard count * size <= remaining else { throw .malformed("message ends within a list") }
        return count
    }

    fileprivate mutating func hashRange() throws(WireError) -> HashRange {
        HashRange(first: try hash(), last: try hash())
    }

    fileprivate mutating func partPower() throws(WireError) -> UInt8 {
        let power = try integer(UInt8.self)
        guard power <= 32 else { throw .malformed("part power \(power)") }
        return power
    }

    fileprivate mutating func partitions() throws(WireError) -> [UInt32] {
        let count = try elements(atMost: DigestQuery.maximumPartitions, size: 4)
        var partitions: [UInt32] = []
        partitions.reserveCapacity(count)
        for _ in 0..<count { partitions.append(try integer()) }
        return partitions
    }

    fileprivate mutating func hashes(atMost limit: Int) throws(WireError) -> [PathHash] {
        let count = try elements(atMost: limit, size: 16)
        var hashes: [PathHash] = []
        hashes.reserveCapacity(count)
        for _ in 0..<count { hashes.append(try hash()) }
        return hashes
    }

    fileprivate mutating func tableKind() throws(WireError) -> TableKind {
        let number = try integer(UInt8.self)
        guard let kind = TableKind(rawValue: number) else { throw .malformed("table kind \(number)") }
        return kind
    }

    fileprivate mutating func replicaVersion() throws(WireError) -> ReplicaVersion {
        let hash = try hash()
        let timestamp = try timestamp()
        let number = try integer(UInt8.self)
        guard let kind = ReplicaVersion.Kind(rawValue: number) else { throw .malformed("version kind \(number)") }
        return ReplicaVersion(hash: hash, timestamp: timestamp, kind: kind)
    }
}
