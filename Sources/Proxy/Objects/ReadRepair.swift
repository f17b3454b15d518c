import StorageWire

/// Brings replicas that a read found behind up to what it answered: a write that was cut off half-way is either seen by everybody from
/// then on or by nobody.
///
/// Runs beside the answer; what can't be repaired here (large bodies, changed heads) is left to the replicator.
enum ReadRepair {
    /// The newest version is this tombstone.
    static func delete(_ loop: ProxyLoop, _ target: ObjectTarget, at timestamp: Timestamp, stale: [Int]) {
        run(loop, target, stale: stale) { index in
            .deleteObject(
                DeleteObject(
                    address: target.address(index), timestamp: timestamp, row: target.row(index), name: target.object))
        }
    }

    /// The newest version is this small object.
    static func put(_ loop: ProxyLoop, _ target: ObjectTarget, _ object: ObjectReply, stale: [Int]) {
        guard let body = object.body, object.timestamp == object.dataTimestamp else { return }
        run(loop, target, stale: stale) { index in
            .putObject(
                PutObject(
                    address: target.address(index), timestamp: object.timestamp, condition: .none,
                    row: target.row(index), head: object.head, body: body))
        }
    }

    private static func run(
        _ loop: ProxyLoop, _ target: ObjectTarget, stale: [Int], _ request: (Int) -> StorageRequest
    ) {
        guard !stale.isEmpty else { return }
        let fanOut = FanOut(loop) { _, _ in }
        for index in stale {
            fanOut.ask(
                request(index), device: target.primaries[index], index: index, timeout: loop.limits.writeTimeout)
        }
        fanOut.detach()
    }
}
