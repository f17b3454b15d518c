import NIOCore
package import StorageWire

/// Writes to containers and accounts.
package enum TableChanges {
    package enum Outcome {
        /// Done; `created` when it was not there before.
        case stored(Timestamp, created: Bool)
        /// Not there, or something newer than a write whose time was given.
        case missing
        /// The account was deleted lately, and can't be made again yet.
        case deleted
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
        // A replica that made it in an earlier round only changes it in a later one.
        var created: Set<Int> = []
        run(
            loop, target,
            translate: { reply, index in
                if case .tableStored(created: true) = reply { created.insert(index) }
                return reply
            },
            make: { device, timestamp in
                .updateTable(
                    UpdateTable(
                        table: target.address(device), timestamp: timestamp, creates: creates,
                        account: target.account, container: target.container, policy: policy, metadata: metadata))
            },
            completion: { completion(outcome($0, created: created.count > target.primaries.count / 2)) })
    }

    /// Deletes an account, or a container that has no objects. Replicas that had agreed when another still had rows are made live again.
    ///
    /// A replica that does not have the container is no witness of its end: it would not tell of it when one that has it, and did not hear of the
    /// end, is asked later. So where a majority comes about only with such, the container is made there first.
    ///
    /// - Parameter policy: what the container has, for these cases.
    package static func delete(
        _ loop: ProxyLoop, _ target: TableTarget, policy: UInt8 = UpdateTable.anyPolicy,
        completion: @escaping (Outcome) -> Void
    ) {
        delete(loop, target, policy: policy, makesMissing: target.kind == .container, completion: completion)
    }

    private static func delete(
        _ loop: ProxyLoop, _ target: TableTarget, policy: UInt8, makesMissing: Bool,
        completion: @escaping (Outcome) -> Void
    ) {
        var isMissingSomewhere = false
        func make(then: @escaping (Outcome) -> Void) {
            update(loop, target, creates: true, policy: policy, metadata: [], completion: then)
        }
        let shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        delete(loop, target, shape: shape, isMissing: { isMissingSomewhere = true }) { result in
            switch result {
            case .refused(.notEmpty): make { _ in completion(.notEmpty) }
            case .unavailable where isMissingSomewhere && makesMissing:
                make { made in
                    guard case .stored = made else { return completion(made) }
                    delete(loop, target, policy: policy, makesMissing: false, completion: completion)
                }
            default: completion(outcome(result, created: false))
            }
        }
    }

    /// Deletes an account, or a container that has no objects, as it was until a time: what has happened to it since then stays. A container that
    /// is not empty is left as it is, for it is to be deleted again.
    package static func delete(
        _ loop: ProxyLoop, _ target: TableTarget, at timestamp: Timestamp, completion: @escaping (Outcome) -> Void
    ) {
        var shape = ReplicatedWrite.Shape(replicas: target.primaries.count)
        shape.timestamp = timestamp
        delete(loop, target, shape: shape, isMissing: nil) { completion(outcome($0, created: false)) }
    }

    /// - Parameter isMissing: called when a replica does not have it; nil: that counts as deleted.
    private static func delete(
        _ loop: ProxyLoop, _ target: TableTarget, shape: ReplicatedWrite.Shape, isMissing: (() -> Void)?,
        completion: @escaping (ReplicatedWrite.Result) -> Void
    ) {
        run(
            loop, target, shape: shape,
            translate: { reply, _ in
                // It is gone there already, or never came there.
                guard case .absent = reply else { return reply }
                guard let isMissing else { return .tableStored(created: false) }
                isMissing()
                return .failed(StorageFailure(.busy, "a replica does not have the container"))
            },
            make: { device, timestamp in
                let table = target.address(device)
                return switch target.kind {
                case .container: .deleteTable(DeleteTable(table: table, timestamp: timestamp))
                case .account:
                    .deleteAccount(DeleteAccount(table: table, timestamp: timestamp, account: target.account))
                }
            },
            completion: completion)
    }

    /// Writes the row of a container into its account.
    ///
    /// - Parameter timestamp: of the container's PUT or DELETE, so that whatever happens to the container after it is newer.
    package static func list(
        _ loop: ProxyLoop, _ container: [UInt8], policy: UInt8, in account: TableTarget, at timestamp: Timestamp,
        deleted: Bool, completion: @escaping (Outcome) -> Void
    ) {
        run(
            loop, account,
            translate: { reply, _ in
                // A report of the container came between: it is there (again), and the row that says so is newer than ours.
                if case .superseded = reply { return .stored(rowStored: true) }
                return reply
            },
            make: { device, _ in
                .putRow(
                    PutRow(
                        table: account.address(device),
                        row: TableRow(
                            name: container, timestamp: timestamp, deleted: deleted, policy: policy,
                            bytes: 0, count: 0, value: ContainerRowValue(put: timestamp).encoded())))
            },
            completion: { completion(outcome($0, created: false)) })
    }

    private static func run(
        _ loop: ProxyLoop, _ target: TableTarget, shape: ReplicatedWrite.Shape? = nil,
        translate: @escaping (StorageReply, Int) -> StorageReply,
        make: @escaping (UInt16, Timestamp) -> StorageRequest,
        completion: @escaping (ReplicatedWrite.Result) -> Void
    ) {
        var shape = shape ?? ReplicatedWrite.Shape(replicas: target.primaries.count)
        var absent: Set<Int> = []
        var notEmpty: Set<Int> = []
        let majority = target.primaries.count / 2 + 1
        shape.refuses = { reply, index in
            switch reply {
            case .policyConflict, .tombstone: return true
            case .notEmpty:
                // One alone may merely not have heard yet that the last object is gone; an object that was acknowledged is known to
                // a majority.
                notEmpty.insert(index)
                return notEmpty.count >= majority
            case .absent:
                absent.insert(index)
                return absent.count >= majority
            default: return false
            }
        }
        ReplicatedRequest.run(
            loop, devices: target.primaries, shape: shape, translate: translate,
            make: { _, device, timestamp in make(device, timestamp) },
            completion: { result in
                // Nobody else could be asked, or agreed: what the one said stands.
                if case .unavailable = result, !notEmpty.isEmpty { return completion(.refused(.notEmpty)) }
                completion(result)
            })
    }

    private static func outcome(_ result: ReplicatedWrite.Result, created: Bool) -> Outcome {
        switch result {
        case .stored(let timestamp): .stored(timestamp, created: created)
        case .refused(.notEmpty): .notEmpty
        case .refused(.tombstone): .deleted
        case .refused(.policyConflict(let policy)): .policyConflict(policy)
        case .refused: .missing
        case .unavailable(let failure): .unavailable(failure)
        }
    }
}
