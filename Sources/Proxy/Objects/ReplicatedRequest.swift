import NIOCore
package import StorageWire

/// A write that fits into one message for each replica, with its fan-out and its rounds.
///
/// Keeps itself until it is done. Bound to its event loop.
package final class ReplicatedRequest {
    private let loop: ProxyLoop
    private let devices: [UInt16]
    private var fanOut: FanOut?
    private var write: ReplicatedWrite?

    private init(_ loop: ProxyLoop, devices: [UInt16]) {
        self.loop = loop
        self.devices = devices
    }

    /// - Parameters:
    ///   - devices: the primaries.
    ///   - handoff: a device in place of the primary of that index, if there is one.
    ///   - translate: lets the caller see each reply and say what it means for the quorum.
    ///   - row: the row that the primary of that index would write at this time, for when it can't.
    ///   - make: the message for the replica of this index on this device.
    package static func run(
        _ loop: ProxyLoop, devices: [UInt16], shape: ReplicatedWrite.Shape,
        handoff: @escaping (Int) -> UInt16? = { _ in nil }, row: ((Int, Timestamp) -> PutRow?)? = nil,
        translate: @escaping (StorageReply, Int) -> StorageReply = { reply, _ in reply },
        make: @escaping (Int, UInt16, Timestamp) -> StorageRequest,
        completion: @escaping (ReplicatedWrite.Result) -> Void
    ) {
        let request = ReplicatedRequest(loop, devices: devices)
        let places = WritePlaces(primaries: devices.count)
        let fanOut = FanOut(loop) { reply, place in
            switch places.role(of: place) {
            case .primary(let index): request.write?.receive(translate(reply, index), from: index)
            case .handoff: break
            case .row(let index): request.write?.receiveRow(reply, from: index)
            }
        }
        let timeout = loop.limits.writeTimeout
        request.fanOut = fanOut
        let write = ReplicatedWrite(
            loop, shape: shape,
            send: { index, timestamp in
                let device = devices[index]
                fanOut.ask(make(index, device, timestamp), device: device, index: index, timeout: timeout)
            },
            sendToHandoff: { index, timestamp in
                guard let device = handoff(index) else { return }
                fanOut.ask(
                    make(index, device, timestamp).withoutRow, device: device, index: places.handoff(index),
                    timeout: timeout)
            },
            sendRow: row.map { row in
                { index, timestamp in
                    guard let row = row(index, timestamp) else {
                        request.write?.receiveRow(.failed(StorageFailure(.noDevice)), from: index)
                        return
                    }
                    fanOut.ask(.putRow(row), device: row.table.device, index: places.row(index), timeout: timeout)
                }
            },
            completion: { result in
                request.finish()
                completion(result)
            })
        request.write = write
        write.start()
    }

    /// Calls that still wait for a third replica go on without us; the references that kept this alive are let go.
    private func finish() {
        fanOut?.detach()
        fanOut = nil
        write = nil
    }
}

/// Which place of a write's fan-out is whose.
struct WritePlaces {
    enum Role { case primary(Int), handoff(Int), row(Int) }

    let primaries: Int

    func handoff(_ index: Int) -> Int { primaries + index }
    func row(_ index: Int) -> Int { 2 * primaries + index }

    func role(of place: Int) -> Role {
        if place < primaries { return .primary(place) }
        return place < 2 * primaries ? .handoff(place - primaries) : .row(place - 2 * primaries)
    }
}

extension StorageRequest {
    /// The same for a handoff, which leaves the listing alone.
    var withoutRow: StorageRequest {
        switch self {
        case .putObject(var put):
            put.row = nil
            return .putObject(put)
        case .deleteObject(var delete):
            delete.row = nil
            return .deleteObject(delete)
        case .updateObject(var update):
            update.row = nil
            return .updateObject(update)
        case .openUpload, .chunk, .commitUpload, .readObject, .readBody, .putRow, .updateTable, .deleteTable,
            .deleteAccount,
            .readTable, .listTable, .status, .workers, .setWorker, .verifyObject, .replication,
            .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap, .program, .users:
            return self
        }
    }
}
