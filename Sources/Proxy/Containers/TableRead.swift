import NIOCore
package import StorageWire

/// Asks a majority for the state of a container or account.
///
/// Keeps itself until it has answered. Bound to its event loop.
package final class TableRead: DeadlineQueue.Entry {
    package enum Outcome {
        case state(TableState)
        case unavailable(StorageFailure)
    }

    private let loop: ProxyLoop
    private let begun = NIODeadline.now()
    private var quorum: TableQuorum
    private var fanOut: FanOut?
    private var completion: ((Outcome) -> Void)?
    private var lastFailure = StorageFailure(.unreachable)

    private init(_ loop: ProxyLoop, replicas: Int, completion: @escaping (Outcome) -> Void) {
        self.loop = loop
        quorum = TableQuorum(replicas: replicas)
        self.completion = completion
    }

    package static func run(_ loop: ProxyLoop, _ target: TableTarget, completion: @escaping (Outcome) -> Void) {
        let read = TableRead(loop, replicas: target.primaries.count, completion: completion)
        let fanOut = FanOut(loop) { reply, index in read.receive(reply, from: index) }
        read.fanOut = fanOut
        loop.watch(read, for: loop.tableTimes.patience)
        for (index, device) in target.primaries.enumerated() where read.completion != nil {
            fanOut.ask(
                .readTable(target.address(device)), device: device, index: index, timeout: loop.limits.readTimeout)
        }
    }

    package override func expired() {
        act(on: quorum.receiveSilence())
        if completion != nil { loop.watch(self, for: loop.tableTimes.patience) }
    }

    private func receive(_ reply: StorageReply, from index: Int) {
        loop.tableTimes.note(.now() - begun)
        let action: TableQuorum.Action
        switch reply {
        case .table(let table): action = quorum.receive(table, from: index)
        case .failed(let failure):
            lastFailure = failure
            action = quorum.receiveFailure(from: index)
        default: action = quorum.receiveFailure(from: index)
        }
        act(on: action)
    }

    private func act(on action: TableQuorum.Action) {
        switch action {
        case .wait: break
        case .fail: finish(.unavailable(lastFailure))
        case .done:
            do throws(WireError) {
                finish(.state(try quorum.state()))
            } catch {
                finish(.unavailable(StorageFailure(.corrupt, "\(error)")))
            }
        }
    }

    private func finish(_ outcome: Outcome) {
        let completion = completion
        self.completion = nil
        loop.unwatch(self)
        fanOut?.end()
        fanOut = nil
        completion?(outcome)
    }
}
