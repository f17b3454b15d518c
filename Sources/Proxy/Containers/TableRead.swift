import NIOCore
package import StorageWire

/// Asks a majority for the state of a container or account.
///
/// Keeps itself until it has answered. Bound to its event loop.
package final class TableRead {
    package enum Outcome {
        case state(TableState)
        case unavailable(StorageFailure)
    }

    private var quorum: TableQuorum
    private var fanOut: FanOut?
    private var completion: ((Outcome) -> Void)?
    private var lastFailure = StorageFailure(.unreachable)

    private init(replicas: Int, completion: @escaping (Outcome) -> Void) {
        quorum = TableQuorum(replicas: replicas)
        self.completion = completion
    }

    package static func run(_ loop: ProxyLoop, _ target: TableTarget, completion: @escaping (Outcome) -> Void) {
        let read = TableRead(replicas: target.primaries.count, completion: completion)
        let fanOut = FanOut(
            loop, onSlow: { read.act(on: read.quorum.hurry()) }, onReply: { read.receive($0, from: $1) })
        read.fanOut = fanOut
        for (index, device) in target.primaries.enumerated() where read.completion != nil {
            fanOut.ask(
                .readTable(target.address(device)), device: device, index: index, timeout: loop.limits.readTimeout)
        }
    }

    private func receive(_ reply: StorageReply, from index: Int) {
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
                finish(.state(TableState(head: try quorum.head(), sums: quorum.agreed?.sums ?? [])))
            } catch {
                finish(.unavailable(StorageFailure(.corrupt, "\(error)")))
            }
        }
    }

    private func finish(_ outcome: Outcome) {
        let completion = completion
        self.completion = nil
        fanOut?.end()
        fanOut = nil
        completion?(outcome)
    }
}
