import DeviceLog
import NIOCore
import NIOPosix
import StorageWire
import Synchronization

/// Copies are read and checked where they are: only the verdict travels.
extension ObjectServer {
    /// Each holds a worker thread as long as its body takes; the others are for clients.
    private static let maximumVerifications = 4

    func verify(_ address: ObjectAddress, call: ServerCall) {
        guard let log = device(address.device, call: call) else { return }
        guard verifications.wrappingAdd(1, ordering: .relaxed).newValue <= Self.maximumVerifications else {
            verifications.wrappingSubtract(1, ordering: .relaxed)
            return call.reply(.failed(StorageFailure(.busy, "other copies are being verified")))
        }
        let key = ObjectKey(policy: address.policy, hash: address.hash)
        workers.submit { [self] _ in
            let result = Result { () throws(DeviceLogError) in try log.verify(key) }
            verifications.wrappingSubtract(1, ordering: .relaxed)
            call.eventLoop.execute {
                switch result {
                case .success(let state): call.reply(Self.verified(state))
                case .failure(let error): call.reply(.failed(StorageFailure(error)))
                }
            }
        }
    }

    private static func verified(_ state: ObjectState) -> StorageReply {
        switch state {
        case .absent: .absent
        case .tombstone(let timestamp): .tombstone(Timestamp(rawValue: timestamp))
        case .live(let object):
            .verified(
                ObjectReply(
                    timestamp: Timestamp(rawValue: object.timestamp),
                    dataTimestamp: Timestamp(rawValue: object.dataTimestamp), head: object.metadata,
                    bodyLength: object.bodyLength, body: nil))
        }
    }
}
