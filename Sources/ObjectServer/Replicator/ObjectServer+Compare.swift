import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// What other replicators ask.
extension ObjectServer {
    func digests(_ query: DigestQuery, call: ServerCall) {
        guard let log = device(query.device, call: call) else { return }
        guard areValid(query.partitions, query.partPower, call) else { return }
        guard !query.mustBeForeign || log.areForeign(.objects(query.policy), query.partitions) else {
            return call.reply(.failed(StorageFailure(.busy, "the partitions are still the device's own here")))
        }
        answer(call) { () throws(DeviceLogError) in .digests(try log.digests(query)) }
    }

    func versions(_ query: VersionQuery, call: ServerCall) {
        guard let log = device(query.device, call: call), areValid(query.partitions, query.partPower, call) else {
            return
        }
        answer(call) { () throws(DeviceLogError) in .versions(try log.versions(query)) }
    }

    func versions(_ query: RangeQuery, call: ServerCall) {
        guard let log = device(query.device, call: call) else { return }
        answer(call) { () throws(DeviceLogError) in .versions(try log.versions(query)) }
    }

    private func areValid(_ partitions: [UInt32], _ partPower: UInt8, _ call: ServerCall) -> Bool {
        let isAscending = zip(partitions, partitions.dropFirst()).allSatisfy { $0 < $1 }
        let isValid = isAscending && partitions.last.map { UInt64($0) < 1 << UInt64(partPower) } ?? true
        if !isValid { call.reply(.failed(StorageFailure(.malformed, "not partitions in ascending order"))) }
        return isValid
    }

    func objects(_ query: ObjectsQuery, call: ServerCall) {
        guard let log = device(query.device, call: call) else { return }
        answer(call) { .objects(log.replicaObjects(query)) }
    }

    /// Answers from a worker: walks over the index may wait for the disk.
    private func answer(_ call: ServerCall, _ body: @escaping @Sendable () throws(DeviceLogError) -> ReplicationReply) {
        workers.submit { _ in
            let reply: StorageReply
            do throws(DeviceLogError) { reply = .replication(try body()) } catch {
                reply = .failed(StorageFailure(error))
            }
            call.eventLoop.execute { call.reply(reply) }
        }
    }
}

extension DeviceLog {
    func digests(_ query: DigestQuery) throws(DeviceLogError) -> [UInt64] {
        try digests(policy: query.policy, partPower: Int(query.partPower), partitions: query.partitions)
    }

    /// The first of them, as many as fit into one answer. Blocks.
    func replicaObjects(_ query: ObjectsQuery) -> [ReplicaObject] {
        var objects: [ReplicaObject] = []
        var bytes = 0
        for hash in query.hashes where bytes < ObjectsQuery.maximumBytes {
            let object = replicaObject(ObjectKey(policy: query.policy, hash: hash))
            if case .object(let reply) = object {
                bytes += reply.head.readableBytes + (reply.body?.readableBytes ?? 0)
            }
            objects.append(object)
        }
        return objects
    }

    private func replicaObject(_ key: ObjectKey) -> ReplicaObject {
        let state: ObjectState
        do throws(DeviceLogError) { state = try object(key, body: .inline, mayBlock: true) } catch {
            return .failed(StorageFailure(error).reason)
        }
        switch state {
        case .absent: return .absent
        case .tombstone(let timestamp): return .tombstone(Timestamp(rawValue: timestamp))
        case .live(let object):
            var body: ByteBuffer?
            if case .inline(let bytes) = object.body { body = bytes }
            return .object(
                ObjectReply(
                    timestamp: Timestamp(rawValue: object.timestamp),
                    dataTimestamp: Timestamp(rawValue: object.dataTimestamp), head: object.metadata,
                    bodyLength: object.bodyLength, body: body))
        }
    }

    func versions(_ query: VersionQuery) throws(DeviceLogError) -> VersionPage {
        try versions(policy: query.policy, in: query.ranges, limit: query.limit)
    }

    func versions(_ query: RangeQuery) throws(DeviceLogError) -> VersionPage {
        try versions(policy: query.policy, in: [query.range], limit: query.limit)
    }

    private func versions(policy: UInt8, in ranges: [HashRange], limit: Int) throws(DeviceLogError) -> VersionPage {
        var page = VersionPage(versions: [], isWhole: true)
        try versions(policy: policy, in: ranges) { key, version in page.take(key, version, limit: limit) }
        return page
    }

    /// Keys and versions of everything in some ranges, one after the other, until `visit` says false.
    func versions(
        policy: UInt8, in ranges: [HashRange], visit: (ObjectKey, ObjectVersion) -> Bool
    ) throws(DeviceLogError) {
        var isStopped = false
        for range in ranges where !isStopped {
            try versions(policy: policy, from: range.first, through: range.last) { key, version in
                isStopped = !visit(key, version)
                return !isStopped
            }
        }
    }
}

extension VersionPage {
    /// Whether there is room for more.
    fileprivate mutating func take(_ key: ObjectKey, _ version: ObjectVersion, limit: Int) -> Bool {
        guard versions.count < limit else {
            isWhole = false
            return false
        }
        if let kind = ReplicaVersion.Kind(version.kind) {
            versions.append(
                ReplicaVersion(hash: key.hash, timestamp: Timestamp(rawValue: version.timestamp), kind: kind))
        }
        return true
    }
}

extension ReplicaVersion.Kind {
    init?(_ kind: ObjectVersion.Kind) {
        switch kind {
        case .absent: return nil
        case .live: self = .live
        case .tombstone: self = .tombstone
        case .quarantined: self = .quarantined
        }
    }
}
