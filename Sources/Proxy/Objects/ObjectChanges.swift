import NIOCore
package import StorageWire

/// Writes to an object other than its body.
package enum ObjectChanges {
    package enum Outcome {
        case stored(Timestamp)
        /// No such object (any more), or something newer than a write whose time was given.
        case missing
        case unavailable(StorageFailure)
    }

    /// Leaves a tombstone on the object and takes its row from the listing.
    ///
    /// - Parameter timestamp: of the tombstone; what is newer stays. Without it, above everything that is there.
    package static func delete(
        _ loop: ProxyLoop, _ target: ObjectTarget, at timestamp: Timestamp? = nil,
        completion: @escaping (Outcome) -> Void
    ) {
        var shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        shape.timestamp = timestamp
        ReplicatedRequest.run(
            loop, devices: target.primaries, shape: shape,
            handoff: { target.handoff(index: $0) },
            row: { target.putRow($0, nil, $1) },
            make: { index, device, timestamp in
                .deleteObject(
                    DeleteObject(
                        address: ObjectAddress(device: device, policy: target.policy, hash: target.hash),
                        timestamp: timestamp, row: target.row(index), name: target.object))
            },
            completion: { completion(outcome($0)) })
    }

    /// Replaces the head of an object, made by `change` from the present one; read again when another write came between.
    package static func update(
        _ loop: ProxyLoop, _ target: ObjectTarget, attempt: Int = 0,
        change: @escaping (ObjectReply) -> ObjectHead?, completion: @escaping (Outcome) -> Void
    ) {
        let keeper = Keeper()
        let read = ObjectRead(loop, target: target, wanted: .head) { found in
            keeper.read?.end()
            keeper.read = nil
            switch found {
            case .notFound: completion(.missing)
            case .unavailable(let failure): completion(.unavailable(failure))
            case .found(let reply):
                guard let head = change(reply) else { return completion(.missing) }
                write(loop, target, head, base: reply.dataTimestamp) { outcome in
                    guard let outcome else {
                        guard attempt + 1 < loop.limits.maximumWriteRounds else {
                            return completion(.unavailable(StorageFailure(.busy, "newer writes kept arriving")))
                        }
                        // Either a newer body came between, or a put that was cut off left the body with a minority.
                        return ObjectRepair.run(loop, target) {
                            update(loop, target, attempt: attempt + 1, change: change, completion: completion)
                        }
                    }
                    completion(outcome)
                }
            }
        }
        keeper.read = read
        read.start()
    }

    /// `nil` when the body has changed since it was read.
    private static func write(
        _ loop: ProxyLoop, _ target: ObjectTarget, _ head: ObjectHead, base: Timestamp,
        completion: @escaping (Outcome?) -> Void
    ) {
        var baseChanged = false
        let encoded = head.encoded()
        ReplicatedRequest.run(
            loop, devices: target.primaries, shape: ReplicatedWrite.Shape(replicas: target.primaries.count),
            row: { target.putRow($0, head, $1) },
            translate: { reply, _ in
                switch reply {
                case .baseMismatch, .absent:
                    // A replica that is behind, or a newer body: the others tell which.
                    baseChanged = true
                    return .failed(StorageFailure(.busy, "the body is another"))
                default: return reply
                }
            },
            make: { index, device, timestamp in
                .updateObject(
                    UpdateObject(
                        address: ObjectAddress(device: device, policy: target.policy, hash: target.hash),
                        timestamp: timestamp, base: base, row: target.row(index), head: encoded))
            },
            completion: { result in
                if case .unavailable = result, baseChanged { return completion(nil) }
                completion(outcome(result))
            })
    }

    private static func outcome(_ result: ReplicatedWrite.Result) -> Outcome {
        switch result {
        case .stored(let timestamp): .stored(timestamp)
        case .refused: .missing
        case .unavailable(let failure): .unavailable(failure)
        }
    }

    /// Holds the read until its answer has come.
    private final class Keeper { var read: ObjectRead? }
}
