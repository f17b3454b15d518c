import NIOCore
import StorageWire

/// Brings every replica to the version of an object that a read finds: a put that only a minority had taken when it was cut off.
///
/// The put keeps its timestamp, so that it wins over nothing newer. Bound to its event loop.
final class ObjectRepair {
    private let loop: ProxyLoop
    private let target: ObjectTarget
    private var read: ObjectRead?
    private var fanOut: FanOut?
    private var unanswered = 0
    private var completion: (() -> Void)?

    private init(_ loop: ProxyLoop, _ target: ObjectTarget, completion: @escaping () -> Void) {
        self.loop = loop
        self.target = target
        self.completion = completion
    }

    /// Does what it can and then calls `completion`. Bodies that don't travel in one message are left as they are.
    static func run(_ loop: ProxyLoop, _ target: ObjectTarget, completion: @escaping () -> Void) {
        let repair = ObjectRepair(loop, target, completion: completion)
        // The closures keep the repair until its end.
        let read = ObjectRead(loop, target: target, wanted: .body, newest: true) { found in
            if case .found(let reply) = found, let body = reply.body {
                repair.put(reply, body)
            } else {
                repair.end()
            }
        }
        repair.read = read
        read.start()
    }

    private func put(_ reply: ObjectReply, _ body: ByteBuffer) {
        let fanOut = FanOut(loop) { [self] _, _ in
            unanswered -= 1
            if unanswered == 0 { end() }
        }
        self.fanOut = fanOut
        unanswered = target.primaries.count
        for index in target.primaries.indices {
            let put = PutObject(
                address: target.address(index), timestamp: reply.dataTimestamp, condition: .none,
                row: target.row(index), head: reply.head, body: body)
            fanOut.ask(
                .putObject(put), device: target.primaries[index], index: index, timeout: loop.limits.writeTimeout)
        }
    }

    private func end() {
        let completion = completion
        self.completion = nil
        read?.end()
        read = nil
        fanOut?.end()
        fanOut = nil
        completion?()
    }
}
