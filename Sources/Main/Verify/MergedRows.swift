import NIOCore
import Ring
import StorageWire

/// The rows of a listing as its replicas have them together: by name, of each the newest. A page of each is in memory.
struct MergedRows {
    private static let page = 1000

    let questions: ReplicaQuestions
    let ring: Ring
    let kind: TableKind
    let hash: PathHash
    /// Told of each replica that could not be read, once per page.
    let unread: (RingDevice, CopyVerdict) -> Void

    /// Visits the rows that are not deleted.
    ///
    /// - Returns: whether any replica knows the listing.
    func forEach(_ visit: (TableRow) throws -> Void) throws -> Bool {
        let devices = questions.devices(ring, hash)
        var marker: [UInt8] = []
        var isKnown = false
        while true {
            let replies = try questions.ask(devices) { device in
                .listTable(
                    ListTable(
                        table: TableAddress(device: device, kind: kind, hash: hash), limit: Self.page, marker: marker,
                        includesDeleted: true))
            }
            var newest: [[UInt8]: TableRow] = [:]
            // Names beyond the end of a full page are not complete yet.
            var end: [UInt8]?
            for (device, reply) in zip(devices, replies) {
                switch reply {
                case .listing(let listing):
                    isKnown = isKnown || listing.table.head != nil
                    let rows = try Self.rows(listing)
                    for row in rows { Self.merge(row, into: &newest) }
                    guard rows.count == Self.page, let last = rows.last?.name else { continue }
                    end = end.map { $0.lexicographicallyPrecedes(last) ? $0 : last } ?? last
                case .absent, .tombstone: continue
                case .failed(let failure): unread(device, failure.reason == .corrupt ? .damaged : .unreachable)
                default: unread(device, .unreachable)
                }
            }
            let names = newest.keys.sorted { $0.lexicographicallyPrecedes($1) }
            for name in names {
                if let end, end.lexicographicallyPrecedes(name) { break }
                if let row = newest[name], !row.deleted { try visit(row) }
            }
            guard let end else { return isKnown }
            marker = end
        }
    }

    private static func merge(_ row: TableRow, into newest: inout [[UInt8]: TableRow]) {
        if let known = newest[row.name] {
            guard row.timestamp > known.timestamp || (row.timestamp == known.timestamp && row.deleted) else { return }
        }
        newest[row.name] = row
    }

    private static func rows(_ listing: ListingReply) throws -> [TableRow] {
        var reader = WireReader(listing.entries)
        var rows: [TableRow] = []
        rows.reserveCapacity(listing.count)
        for _ in 0..<listing.count {
            if case .row(let row) = try ListingEntry(from: &reader) { rows.append(row) }
        }
        return rows
    }
}
