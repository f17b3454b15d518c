package import NIOCore
package import StorageWire

/// A page of a listing that a majority of the replicas vouches for.
///
/// One replica is asked for the page, the others for the state of the table; when a majority holds the same rows the page is right as it
/// is. When that replica does not answer another is asked; when replicas differ, their rows are merged name by name, the newest wins, deletions too (`MergedListing`).
/// Keeps itself until it has answered. Bound to its event loop.
package final class TableListing: DeadlineQueue.Entry {
    package enum Outcome {
        case page(TableState, count: Int, entries: ByteBuffer)
        case unavailable(StorageFailure)
    }

    private let loop: ProxyLoop
    private let target: TableTarget
    private let query: ListTable
    private let begun = NIODeadline.now()
    private var quorum: TableQuorum
    private var fanOut: FanOut?
    private var completion: ((Outcome) -> Void)?
    private var page: ListingReply?
    /// The replica that is asked for the page now, and all that were.
    private var pageSource: Int? = 0
    private var pageSources: Set<Int> = [0]
    private var lastFailure = StorageFailure(.unreachable)

    private init(
        _ loop: ProxyLoop, _ target: TableTarget, _ query: ListTable, completion: @escaping (Outcome) -> Void
    ) {
        self.loop = loop
        self.target = target
        self.query = query
        self.completion = completion
        quorum = TableQuorum(replicas: target.primaries.count)
    }

    /// - Parameter query: its table's device is filled in here.
    package static func run(
        _ loop: ProxyLoop, _ target: TableTarget, _ query: ListTable, completion: @escaping (Outcome) -> Void
    ) {
        let listing = TableListing(loop, target, query, completion: completion)
        let fanOut = FanOut(loop) { reply, index in listing.receive(reply, from: index) }
        listing.fanOut = fanOut
        loop.watch(listing, for: loop.listingTimes.patience)
        for index in target.primaries.indices where listing.completion != nil { listing.ask(index, page: index == 0) }
    }

    private func ask(_ index: Int, page: Bool) {
        let device = target.primaries[index]
        var query = query
        query.table = target.address(device)
        fanOut?.ask(
            page ? .listTable(query) : .readTable(query.table), device: device, index: index,
            timeout: loop.limits.readTimeout)
    }

    package override func expired() {
        // Whoever was to give the page is silent: another one is asked.
        pageSource = nil
        act(on: quorum.receiveSilence())
        if completion != nil { loop.watch(self, for: loop.listingTimes.patience) }
    }

    private func receive(_ reply: StorageReply, from index: Int) {
        loop.listingTimes.note(.now() - begun)
        if pageSource == index { pageSource = nil }
        switch reply {
        case .listing(let listing):
            page = listing
            act(on: quorum.receive(listing.table, from: index))
        case .table(let table):
            act(on: quorum.receive(table, from: index))
        case .failed(let failure):
            lastFailure = failure
            act(on: quorum.receiveFailure(from: index))
        default:
            act(on: quorum.receiveFailure(from: index))
        }
    }

    private func act(on action: TableQuorum.Action) {
        switch action {
        case .wait: break
        case .fail: finish(.unavailable(lastFailure))
        case .done:
            if let page, quorum.agrees(with: page.table) { return finish(count: page.count, entries: page.entries) }
            // A page takes longer than the state of a table: the others have mostly spoken before it comes.
            if pageSource != nil { return }
            guard let holder = quorum.holder(except: pageSources) else { return merge() }
            pageSource = holder
            pageSources.insert(holder)
            ask(holder, page: true)
        }
    }

    private func merge() {
        loop.unwatch(self)
        fanOut?.end()
        fanOut = nil
        MergedListing.run(loop, target, query) { [self] result in
            switch result {
            case .success(let (count, entries)): finish(count: count, entries: entries)
            case .failure(let failure): finish(.unavailable(failure))
            }
        }
    }

    private func finish(count: Int, entries: ByteBuffer) {
        do throws(WireError) {
            finish(.page(try quorum.state(), count: count, entries: entries))
        } catch {
            finish(.unavailable(StorageFailure(.corrupt, "\(error)")))
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
