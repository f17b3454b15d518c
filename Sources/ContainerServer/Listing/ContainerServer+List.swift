import DeviceLog
import NIOCore
import NIOPosix
import StorageWire

extension ContainerServer {
    func listTable(_ list: ListTable, call: ServerCall) {
        guard let log = device(list.table, call: call) else { return }
        guard list.limit >= 0, list.limit <= ListTable.maximumLimit, !list.includesDeleted || list.delimiter.isEmpty
        else { return call.reply(.failed(StorageFailure(.malformed, "listing out of bounds"))) }
        if list.limit <= Self.rowsOnEventLoop { return call.reply(Self.page(list, log)) }
        workers.submit { _ in
            let reply = Self.page(list, log)
            call.eventLoop.execute { call.reply(reply) }
        }
    }

    private static func page(_ list: ListTable, _ log: DeviceLog) -> StorageReply {
        do throws(DeviceLogError) {
            // State before rows and again after: a page is only said to be of one state when nothing was written meanwhile.
            var state = try state(of: list.table, in: log)
            for _ in 0..<4 {
                var page = ListingPage(list)
                if list.limit > 0 { try page.fill(from: log) }
                let after = try Self.state(of: list.table, in: log)
                if after == state {
                    return .listing(ListingReply(table: after, count: page.count, entries: page.entries))
                }
                state = after
            }
            // Writes keep coming: the rows are right, but they are not those of the digest; 0 equals no digest of a table with rows.
            var page = ListingPage(list)
            try page.fill(from: log)
            state.digest = ListingReply.unsettledDigest
            return .listing(ListingReply(table: state, count: page.count, entries: page.entries))
        } catch {
            return .failed(failure(error))
        }
    }
}

/// A page of a listing while it is put together.
struct ListingPage {
    private let list: ListTable
    private(set) var entries = ByteBuffer()
    private(set) var count = 0
    private var lastSubdirectory: [UInt8] = []

    init(_ list: ListTable) { self.list = list }

    mutating func fill(from log: DeviceLog) throws(DeviceLogError) {
        entries.reserveCapacity(min(list.limit, 1_000) * 128)
        guard let start = start() else { return }
        // A copy that the visit may change: `self` can't be borrowed twice.
        var page = self
        if list.includesDeleted {
            try page.fillWithDeleted(from: log, start)
        } else {
            try log.scan(list.table.key, from: start, reverse: list.reverse) { name, row in
                page.visit(name, row) { name, row, entries in
                    Self.encode(name, row, deleted: false, into: &entries)
                }
            }
        }
        self = page
    }

    /// Live rows and tombstones have indices of their own: a page of each, merged.
    private mutating func fillWithDeleted(from log: DeviceLog, _ start: ScanStart) throws(DeviceLogError) {
        var rows: [(name: [UInt8], encoded: ByteBuffer)] = []
        for kind in [RowKind.live, .deleted] {
            var page = ListingPage(list)
            // With an end, since a visit stops only at a row of its kind: where none was deleted that would be none.
            try log.scan(
                list.table.key, kind: kind, from: start, until: list.endMarker.isEmpty ? nil : list.endMarker,
                reverse: list.reverse
            ) { name, row in
                page.visit(name, row) { name, row, _ in
                    var encoded = ByteBuffer()
                    Self.encode(name, row, deleted: kind == .deleted, into: &encoded)
                    rows.append(([UInt8](name), encoded))
                }
            }
        }
        rows.sort { left, right in
            list.reverse
                ? right.name.lexicographicallyPrecedes(left.name) : left.name.lexicographicallyPrecedes(right.name)
        }
        for row in rows.prefix(list.limit) {
            entries.writeImmutableBuffer(row.encoded)
            count += 1
        }
    }

    private static func encode(
        _ name: UnsafeRawBufferPointer, _ row: borrowing RowView, deleted: Bool, into entries: inout ByteBuffer
    ) {
        ListingEntry.encodeRow(
            name: name, timestamp: Timestamp(rawValue: row.timestamp), deleted: deleted, policy: row.bucket,
            bytes: row.bytes, count: row.count, value: row.value, into: &entries)
    }

    private typealias Emit = (UnsafeRawBufferPointer, borrowing RowView, inout ByteBuffer) -> Void

    /// Where the first name of the page can be; `nil` when there can be none.
    private func start() -> ScanStart? {
        let prefix = list.prefix
        if !list.reverse {
            if !list.marker.isEmpty, !list.marker.lexicographicallyPrecedes(prefix) { return .after(list.marker) }
            return prefix.isEmpty ? .first : .at(prefix)
        }
        // Reverse: from the marker down, or from the end of the prefix down.
        let upper = prefix.isEmpty ? nil : ListingPage.successor(of: prefix)
        if !list.marker.isEmpty {
            if let upper, upper.lexicographicallyPrecedes(list.marker) { return .after(upper) }
            return .after(list.marker)
        }
        guard let upper else { return .first }
        return .after(upper)
    }

    private mutating func visit(
        _ name: UnsafeRawBufferPointer, _ row: borrowing RowView, emit: Emit
    ) -> ScanStep {
        guard name.starts(with: list.prefix) else {
            // Before the prefix only when a reverse scan began behind it.
            if list.reverse, list.prefix.lexicographicallyPrecedes(name) { return .next }
            return .stop
        }
        if !list.endMarker.isEmpty {
            let isPast =
                list.reverse
                ? !list.endMarker.lexicographicallyPrecedes(name) : !name.lexicographicallyPrecedes(list.endMarker)
            if isPast { return .stop }
        }
        // Same as OpenStack Swift: `path=a` shows what is in `a/`, not an object of that name.
        if list.omitsSubdirectories, name.elementsEqual(list.prefix) { return .next }
        if !list.delimiter.isEmpty, let end = ListingPage.end(of: list.delimiter, in: name, from: list.prefix.count) {
            return visitSubdirectory([UInt8](name[..<end]), whole: end == name.count, row, name, emit: emit)
        }
        return add(name, row, emit: emit)
    }

    private mutating func visitSubdirectory(
        _ subdirectory: [UInt8], whole: Bool, _ row: borrowing RowView, _ name: UnsafeRawBufferPointer,
        emit: Emit
    ) -> ScanStep {
        if list.omitsSubdirectories {
            // An object named like the directory itself counts as directly below.
            if whole { return add(name, row, emit: emit) }
            return skip(subdirectory)
        }
        // A reverse scan meets the object that is named like the directory after all that is in it.
        if subdirectory == lastSubdirectory { return .next }
        lastSubdirectory = subdirectory
        // Same as OpenStack Swift: only what is the marker itself was given on the page before.
        if subdirectory == (list.reverse ? list.endMarker : list.marker) { return skip(subdirectory) }
        guard count < list.limit else { return .stop }
        ListingEntry.subdirectory(subdirectory).encode(into: &entries)
        count += 1
        return count < list.limit ? skip(subdirectory) : .stop
    }

    /// Behind everything that begins with these bytes.
    private func skip(_ prefix: [UInt8]) -> ScanStep {
        if list.reverse { return .seek(to: prefix) }
        guard let next = ListingPage.successor(of: prefix) else { return .stop }
        return .seek(to: next)
    }

    private mutating func add(
        _ name: UnsafeRawBufferPointer, _ row: borrowing RowView, emit: Emit
    ) -> ScanStep {
        guard count < list.limit else { return .stop }
        emit(name, row, &entries)
        count += 1
        return count < list.limit ? .next : .stop
    }

    /// The first bytes behind everything that begins with `prefix`; `nil` when there are none.
    static func successor(of prefix: [UInt8]) -> [UInt8]? {
        var bytes = prefix
        while let last = bytes.popLast() {
            if last < 255 {
                bytes.append(last + 1)
                return bytes
            }
        }
        return nil
    }

    /// The index behind the first occurrence of `delimiter` at or after `from`.
    static func end(of delimiter: [UInt8], in name: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard name.count >= start + delimiter.count else { return nil }
        var place = start
        while place + delimiter.count <= name.count {
            if name[place] == delimiter[0], name[place..<place + delimiter.count].elementsEqual(delimiter) {
                return place + delimiter.count
            }
            place += 1
        }
        return nil
    }
}
