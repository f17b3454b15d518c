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
    ///   - row: the row that goes with the replica of that index, for an object.
    ///   - translate: lets the caller see each reply and say what it means for the quorum.
    ///   - make: the message for the replica of this index on this device.
    package static func run(
        _ loop: ProxyLoop, devices: [UInt16], shape: ReplicatedWrite.Shape,
        handoff: @escaping (Int) -> UInt16? = { _ in nil },
        row: @escaping (Int, Timestamp) -> PutRow? = { _, _ in nil },
        translate: @escaping (StorageReply) -> StorageReply = { $0 },
        make: @escaping (Int, UInt16, Timestamp) -> StorageRequest,
        completion: @escaping (ReplicatedWrite.Result) -> Void
    ) {
        let request = ReplicatedRequest(loop, devices: devices)
        let fanOut = FanOut(loop) { reply, index in request.write?.receive(translate(reply), from: index) }
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
                    make(index, device, timestamp), device: device, index: devices.count + index, timeout: timeout)
            },
            sendRow: { index, timestamp, place in
                guard let message = row(index, timestamp) else { return }
                fanOut.ask(.putRow(message), device: message.table.device, index: place, timeout: timeout)
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
