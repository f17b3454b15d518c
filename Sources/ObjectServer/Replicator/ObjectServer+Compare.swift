import DeviceLog
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// What other replicators ask.
extension ObjectServer {
    func digests(_ query: DigestQuery, call: ServerCall) {
        guard let log = device(query.device, call: call) else { return }
        let count = UInt64(1) << UInt64(query.partPower)
        let isAscending = zip(query.partitions, query.partitions.dropFirst()).allSatisfy { $0 < $1 }
        guard isAscending, query.partitions.last.map({ UInt64($0) < count }) ?? true else {
            return call.reply(.failed(StorageFailure(.malformed, "not partitions in ascending order")))
        }
        guard !query.mustBeForeign || log.areForeign(.objects(query.policy), query.partitions) else {
            return call.reply(.failed(StorageFailure(.busy, "the partitions are still the device's own here")))
        }
        answer(call) { () throws(DeviceLogError) in .digests(try log.digests(query)) }
    }

    func versions(_ query: VersionQuery, call: ServerCall) {
        guard let log = device(query.device, call: call) else { return }
        answer(call) { () throws(DeviceLogError) in .versions(try log.versions(query)) }
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

    func versions(_ query: VersionQuery) throws(DeviceLogError) -> VersionPage {
        var page = VersionPage(versions: [], isWhole: true)
        try versions(policy: query.policy, from: query.range.first, through: query.range.last) { key, version in
            guard page.versions.count < query.limit else {
                page.isWhole = false
                return false
            }
            if let kind = ReplicaVersion.Kind(version.kind) {
                page.versions.append(
                    ReplicaVersion(hash: key.hash, timestamp: Timestamp(rawValue: version.timestamp), kind: kind))
            }
            return true
        }
        return page
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
