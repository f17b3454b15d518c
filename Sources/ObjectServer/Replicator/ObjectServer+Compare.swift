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

    /// - Parameter last: nothing behind it is wanted.
    func versions(_ query: VersionQuery, through last: PathHash? = nil) throws(DeviceLogError) -> VersionPage {
        var page = VersionPage(versions: [], isWhole: true)
        try versions(
            policy: query.policy, partPower: Int(query.partPower), partitions: query.partitions, from: query.first
        ) { key, version in
            if let last, last < key.hash { return false }
            return page.take(key, version, limit: query.limit)
        }
        return page
    }

    func versions(_ query: RangeQuery) throws(DeviceLogError) -> VersionPage {
        var page = VersionPage(versions: [], isWhole: true)
        try versions(policy: query.policy, from: query.range.first, through: query.range.last) { key, version in
            page.take(key, version, limit: query.limit)
        }
        return page
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
