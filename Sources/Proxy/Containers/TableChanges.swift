import NIOCore
package import StorageWire

/// Writes to containers and accounts.
package enum TableChanges {
    package enum Outcome {
        /// Done; `created` when it was not there before.
        case stored(Timestamp, created: Bool)
        case missing
        case notEmpty
        /// Exists under this storage policy.
        case policyConflict(UInt8)
        case unavailable(StorageFailure)
    }

    /// Makes a table, or changes its metadata (an empty value removes an item).
    package static func update(
        _ loop: ProxyLoop, _ target: TableTarget, creates: Bool, policy: UInt8, metadata: [ObjectHead.Header],
        completion: @escaping (Outcome) -> Void
    ) {
        var created = 0
        run(
            loop, target,
            translate: { reply in
                if case .tableStored(created: true) = reply { created += 1 }
                return reply
            },
            make: { device, timestamp in
                .updateTable(
                    UpdateTable(
                        table: target.address(device), timestamp: timestamp, creates: creates,
                        account: target.account, container: target.container, policy: policy, metadata: metadata))
            },
            completion: { completion(outcome($0, created: created > target.primaries.count / 2)) })
    }

    /// Deletes a container that has no objects. Replicas that had agreed when another still had rows are made live again.
    package static func delete(
        _ loop: ProxyLoop, _ target: TableTarget, completion: @escaping (Outcome) -> Void
    ) {
        run(
            loop, target,
            translate: { reply in
                // It is gone there already, or never came there.
                if case .absent = reply { return .tableStored(created: false) }
                return reply
            },
            make: { device, timestamp in
                .deleteTable(DeleteTable(table: target.address(device), timestamp: timestamp))
            },
            completion: { result in
                guard case .refused(.notEmpty) = result else { return completion(outcome(result, created: false)) }
                update(loop, target, creates: true, policy: UpdateTable.anyPolicy, metadata: []) { _ in
                    completion(.notEmpty)
                }
            })
    }

    /// Writes the row of a container into its account.
    package static func list(
        _ loop: ProxyLoop, _ container: [UInt8], policy: UInt8, in account: TableTarget, at timestamp: Timestamp,
        deleted: Bool, completion: @escaping (Outcome) -> Void
    ) {
        run(
            loop, account, translate: { reply in
                // A report of the container came between: the row is there, newer than ours.
                if !deleted, case .superseded = reply { return .stored(rowStored: true) }
                return reply
            },
            make: { device, newer in
                .putRow(
                    PutRow(
                        table: account.address(device),
                        row: TableRow(
                            name: container, timestamp: deleted ? newer : timestamp, deleted: deleted, policy: policy,
                            bytes: 0, count: 0, value: ContainerRowValue(put: timestamp).encoded())))
            },
            completion: { completion(outcome($0, created: false)) })
    }

    private static func run(
        _ loop: ProxyLoop, _ target: TableTarget, translate: @escaping (StorageReply) -> StorageReply,
        make: @escaping (UInt16, Timestamp) -> StorageRequest,
        completion: @escaping (ReplicatedWrite.Result) -> Void
    ) {
        var shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        shape.refuses = { reply in
            switch reply {
            case .notEmpty, .policyConflict: true
            default: false
            }
        }
        var absent = 0
        let majority = target.primaries.count / 2 + 1
        shape.refuses = { [refuses = shape.refuses] reply in
            if case .absent = reply {
                absent += 1
                return absent >= majority
            }
            return refuses(reply)
        }
        ReplicatedRequest.run(
            loop, devices: target.primaries, shape: shape, translate: translate,
            make: { _, device, timestamp in make(device, timestamp) }, completion: completion)
    }

    private static func outcome(_ result: ReplicatedWrite.Result, created: Bool) -> Outcome {
        switch result {
        case .stored(let timestamp): .stored(timestamp, created: created)
        case .refused(.notEmpty): .notEmpty
        case .refused(.policyConflict(let policy)): .policyConflict(policy)
        case .refused: .missing
        case .unavailable(let failure): .unavailable(failure)
        }
    }
}
