import NIOCore
import StorageWire

/// A page put together from the rows of replicas that differ: of each name the newest row counts, and a deleted one hides older ones.
///
/// Rows are fetched without a delimiter, because two replicas may disagree on whether anything is left below a prefix.
/// Keeps itself until it has answered. Bound to its event loop.
final class MergedListing {
    private let loop: ProxyLoop
    private let target: TableTarget
    private let query: ListTable
    private var completion: ((Result<(Int, ByteBuffer), StorageFailure>) -> Void)?
    private var fanOut: FanOut?
    private var pages: [Page?]
    private var answered = 0
    private var marker: [UInt8]
    private var entries = ByteBuffer()
    private var count = 0
    private var isRunning = false

    private struct Page {
        var rows: [TableRow]
        /// There may be more behind the last row.
        var isPartial: Bool
    }

    private static let batch = 1_000

    private init(
        _ loop: ProxyLoop, _ target: TableTarget, _ query: ListTable,
        completion: @escaping (Result<(Int, ByteBuffer), StorageFailure>) -> Void
    ) {
        self.loop = loop
        self.target = target
        self.query = query
        self.completion = completion
        pages = Array(repeating: nil, count: target.primaries.count)
        marker = query.marker
    }

    static func run(
        _ loop: ProxyLoop, _ target: TableTarget, _ query: ListTable,
        completion: @escaping (Result<(Int, ByteBuffer), StorageFailure>) -> Void
    ) {
        MergedListing(loop, target, query, completion: completion).run()
    }

    /// Replicas in this process answer within `ask`: the loop is here and not in a recursion.
    private func run() {
        guard !isRunning else { return }
        isRunning = true
        while completion != nil, fanOut == nil { fetch() }
        isRunning = false
    }

    private func fetch() {
        guard count < query.limit else { return finish(.success((count, entries))) }
        answered = 0
        pages = Array(repeating: nil, count: target.primaries.count)
        let fanOut = FanOut(loop, onSlow: { self.hurry() }, onReply: { self.receive($0, from: $1) })
        self.fanOut = fanOut
        for (index, device) in target.primaries.enumerated() {
            let rows = ListTable(
                table: target.address(device), limit: Self.batch, marker: marker, endMarker: query.endMarker,
                prefix: query.prefix, reverse: query.reverse, includesDeleted: true)
            fanOut.ask(.listTable(rows), device: device, index: index, timeout: loop.limits.readTimeout)
        }
    }

    private func receive(_ reply: StorageReply, from index: Int) {
        answered += 1
        if case .listing(let listing) = reply, let rows = try? Self.rows(listing) {
            pages[index] = Page(rows: rows, isPartial: listing.count >= Self.batch)
        }
        // All are heard, so that a row that only one of them has is not missed while it is there to be seen.
        guard answered == target.primaries.count else { return }
        let present = pages.compactMap { $0 }
        guard isMajority(present) else {
            return finish(.failure(StorageFailure(.unreachable, "no majority for a listing")))
        }
        goOn(with: present)
    }

    /// A replica has been silent for long: the rows of a majority have to do.
    private func hurry() {
        let present = pages.compactMap { $0 }
        if isMajority(present) { goOn(with: present) }
    }

    private func isMajority(_ pages: [Page]) -> Bool { pages.count > target.primaries.count / 2 }

    private func goOn(with pages: [Page]) {
        fanOut?.end()
        fanOut = nil
        merge(pages)
        run()
    }

    private static func rows(_ listing: ListingReply) throws(WireError) -> [TableRow] {
        var reader = WireReader(listing.entries)
        var rows: [TableRow] = []
        rows.reserveCapacity(listing.count)
        while reader.remaining > 0 {
            if case .row(let row) = try ListingEntry(from: &reader) { rows.append(row) }
        }
        return rows
    }

    private func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        query.reverse ? right.lexicographicallyPrecedes(left) : left.lexicographicallyPrecedes(right)
    }

    /// Takes the rows of all pages in order; then either all is told, or the marker stands where the next pages begin.
    private func merge(_ pages: [Page]) {
        // Behind the end of a partial page nothing is known of that replica.
        let bound = pages.filter(\.isPartial).compactMap(\.rows.last?.name).min(by: precedes)
        var places = Array(repeating: 0, count: pages.count)
        var collapsed: [UInt8]?
        while count < query.limit, let row = Self.newest(of: pages, at: places, precedes: precedes) {
            if let bound, precedes(bound, row.name) { break }
            for index in pages.indices where places[index] < pages[index].rows.count {
                if pages[index].rows[places[index]].name == row.name { places[index] += 1 }
            }
            if row.deleted || collapsed.map({ row.name.starts(with: $0) }) ?? false { continue }
            collapsed = take(row) ?? collapsed
        }
        guard let bound, count < query.limit else { return finish(.success((count, entries))) }
        marker = bound
        if let collapsed, !query.reverse, bound.starts(with: collapsed) {
            // On from behind what was collapsed. No name has the byte 255, which is not UTF-8.
            marker = collapsed + [255]
        }
    }

    /// Of the first name at these places the newest row; a deletion wins over a write of the same time.
    private static func newest(
        of pages: [Page], at places: [Int], precedes: ([UInt8], [UInt8]) -> Bool
    ) -> TableRow? {
        var newest: TableRow?
        for (page, place) in zip(pages, places) where place < page.rows.count {
            let row = page.rows[place]
            guard let best = newest else {
                newest = row
                continue
            }
            let isNewer = row.timestamp > best.timestamp || row.timestamp == best.timestamp && row.deleted
            if precedes(row.name, best.name) || row.name == best.name && isNewer { newest = row }
        }
        return newest
    }

    /// Adds a row, or what the delimiter makes of it; then the beginning of all that was collapsed.
    private func take(_ row: TableRow) -> [UInt8]? {
        if query.omitsSubdirectories, row.name == query.prefix { return nil }
        guard !query.delimiter.isEmpty,
            let end = row.name.end(of: query.delimiter, from: query.prefix.count)
        else {
            add(.row(row))
            return nil
        }
        if query.omitsSubdirectories {
            if end == row.name.count { add(.row(row)) }
            return nil
        }
        let subdirectory = Array(row.name[..<end])
        // The client knows it from the page before.
        if subdirectory != (query.reverse ? query.endMarker : query.marker) { add(.subdirectory(subdirectory)) }
        return subdirectory
    }

    private func add(_ entry: ListingEntry) {
        entry.encode(into: &entries)
        count += 1
    }

    private func finish(_ result: Result<(Int, ByteBuffer), StorageFailure>) {
        let completion = completion
        self.completion = nil
        fanOut?.end()
        fanOut = nil
        completion?(result)
    }
}

extension [UInt8] {
    /// The index behind the first occurrence of `delimiter` at or after `from`.
    fileprivate func end(of delimiter: [UInt8], from start: Int) -> Int? {
        guard count >= start + delimiter.count else { return nil }
        return (start...(count - delimiter.count)).first { self[$0..<$0 + delimiter.count].elementsEqual(delimiter) }
            .map { $0 + delimiter.count }
    }
}
