import DeviceLog
import NIOCore
import Ring
import StorageWire
import Synchronization

/// Reads on a device that is behind in the partition: it belongs to it since lately and has not got everything yet.
extension ObjectServer {
    /// The others of a partition whose word a device that is behind needs: with it, every acknowledged write is known, since each is on a
    /// majority.
    package static func othersNeeded(replicas: Int) -> Int { replicas - replicas / 2 }

    private static let timeout = TimeAmount.seconds(2)

    /// Asks the other replicas, and the device whose place this one took, brings what is newer there, and answers then.
    func readBehind(_ read: ReadObject, from log: DeviceLog, source: UInt16?, call: ServerCall) {
        guard let desk = fetchers.withLock({ $0 }), let ring = desk.rings()[read.address.policy] else {
            return call.reply(.failed(StorageFailure(.closing, "the device is behind and no replicator is running")))
        }
        let others = ring.primaries(of: read.address.hash).deviceIDs.filter { $0 != read.address.device }
        let sources = source.map { others.contains($0) ? [] : [$0] } ?? []
        let asked = (others + sources).map { other -> EventLoopFuture<(UInt16, ReplicaVersion?)?> in
            guard let node = nodes.node(ofDevice: other) else { return call.eventLoop.makeSucceededFuture(nil) }
            let hash = read.address.hash
            let address = ObjectAddress(device: other, policy: read.address.policy, hash: hash)
            let question = ReadObject(address: address, wanted: .version, isOwn: true)
            return node.ask(.readObject(question), within: Self.timeout, on: call.eventLoop).map { reply in
                switch reply {
                case .absent: (other, nil)
                case .tombstone(let timestamp):
                    (other, ReplicaVersion(hash: hash, timestamp: timestamp, kind: .tombstone))
                case .object(let object):
                    (other, ReplicaVersion(hash: hash, timestamp: object.timestamp, kind: .live))
                default: nil
                }
            }
        }
        EventLoopFuture.whenAllSucceed(asked, on: call.eventLoop).whenSuccess { [self] answers in
            let answers = answers.compactMap { $0 }
            // Whose place it took has what this device would have.
            let isEnough =
                sources.contains { nodes.node(ofDevice: $0) != nil }
                ? answers.contains { sources.contains($0.0) }
                : answers.count >= Self.othersNeeded(replicas: others.count + 1)
            guard isEnough else {
                let failure = StorageFailure(.unreachable, "the device is behind and too few others can be asked")
                return call.reply(.failed(failure))
            }
            let best = answers.compactMap { answer in answer.1.map { (source: answer.0, version: $0) } }
                .max { VersionDifference.isBetter($1.version, than: $0.version) }
            answerBehind(read, from: log, best: best, desk, call: call)
        }
    }

    private func answerBehind(
        _ read: ReadObject, from log: DeviceLog, best: (source: UInt16, version: ReplicaVersion)?, _ desk: FetchDesk,
        call: ServerCall
    ) {
        let key = ObjectKey(policy: read.address.policy, hash: read.address.hash)
        let own = ReadObject(address: read.address, wanted: read.wanted, isOwn: true)
        guard let best, isBetter(best.version, thanOwn: key, in: log) else { return self.read(own, call: call) }
        if read.wanted == .version {
            guard best.version.kind == .live else { return call.reply(.tombstone(best.version.timestamp)) }
            return call.reply(
                .object(
                    ObjectReply(
                        timestamp: best.version.timestamp, dataTimestamp: best.version.timestamp, head: ByteBuffer(),
                        bodyLength: 0, body: nil)))
        }
        let device = read.address.device
        desk.eventLoop.flatSubmit {
            desk.fetcher.fetch(best.version, policy: key.policy, to: device, from: best.source)
        }.hop(to: call.eventLoop).whenSuccess { [self] outcome in
            switch outcome {
            case .failed(let failure): call.reply(.failed(failure))
            case .stored, .nothing: self.read(own, call: call)
            }
        }
    }

    private func isBetter(_ version: ReplicaVersion, thanOwn key: ObjectKey, in log: DeviceLog) -> Bool {
        guard let present = try? log.version(of: key), let kind = ReplicaVersion.Kind(present.kind) else { return true }
        let own = ReplicaVersion(hash: key.hash, timestamp: Timestamp(rawValue: present.timestamp), kind: kind)
        return VersionDifference.isBetter(version, than: own)
    }
}
