internal import Synchronization

/// A listing over memory and index together, in pages: each page takes the rows of memory first and then reads the
/// index up to where those reach, so that a flush between the two cannot hide a row, and no read transaction lives
/// long.
struct RowScan {
    private static let firstPage = 16
    private static let largestPage = 512
    /// Index rows visited in one read transaction.
    private static let transactionRows = 2048

    private let catalog: Catalog
    private let table: TableKey
    private let kind: StoredRow.Kind
    /// No row at or behind it is wanted, in the direction of the scan.
    private let end: [UInt8]?
    private let reverse: Bool

    private var rows: [SortedRows.Element] = []
    private var next = 0
    /// Up to here, in the direction of the scan, `rows` is complete; nil: wholly.
    private var horizon: [UInt8]?
    private var restart: ScanStart?
    private var isStopped = false

    init(_ catalog: Catalog, _ table: TableKey, kind: StoredRow.Kind, until end: [UInt8]? = nil, reverse: Bool) {
        self.catalog = catalog
        self.table = table
        self.kind = kind
        self.end = end
        self.reverse = reverse
    }

    typealias Visit = (_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> ScanStep

    mutating func run(from start: ScanStart, _ visit: Visit) throws(DeviceLogError) {
        var start = start
        var pageSize = Self.firstPage
        while true {
            loadPage(from: start, limit: pageSize)
            restart = nil
            var visited = 0
            // A closure of the index cannot hold `self`, which is inout.
            var page = self
            try catalog.index.scanRows(table, kind: kind, from: start, reverse: reverse) { name, row in
                visited += 1
                return page.step(name, row, isLast: visited >= Self.transactionRows, visit)
            }
            self = page
            if isStopped { return }
            if restart == nil { emitRest(visit) }
            if isStopped { return }
            guard let following = restart ?? horizon.map({ .after($0) }) else { return }
            start = following
            pageSize = min(pageSize * 4, Self.largestPage)
        }
    }

    // MARK: One page

    /// A row of the index comes up: what memory has before it goes first, and what memory has instead of it goes
    /// instead.
    private mutating func step(
        _ name: UnsafeRawBufferPointer, _ row: borrowing RowView, isLast: Bool, _ visit: Visit
    ) -> ScanStep {
        while next < rows.count, order(rows[next].name, name) < 0 {
            if let target = emitNext(visit) {
                if restart != nil { return .stop }
                if order(target, name) > 0 { return .seek(to: target) }
            }
            if isStopped { return .stop }
        }
        if let horizon, order(horizon, name) < 0 {
            restart = .after(horizon)
            return .stop
        }
        // What memory has before the end comes after this.
        if let end, order(end, name) <= 0 { return .stop }
        var target: [UInt8]?
        if next < rows.count, order(rows[next].name, name) == 0 {
            target = emitNext(visit)
        } else {
            target = settle(visit(name, row), at: name)
        }
        if isStopped || restart != nil { return .stop }
        if isLast {
            restart = target.map { .at($0) } ?? .after([UInt8](name))
            return .stop
        }
        return target.map { .seek(to: $0) } ?? .next
    }

    /// Rows behind the last one of the index.
    private mutating func emitRest(_ visit: Visit) {
        while next < rows.count, restart == nil, !isStopped { _ = emitNext(visit) }
    }

    /// Visits the next row of memory if it is of the kind wanted; the result is where the visitor wants to go.
    private mutating func emitNext(_ visit: Visit) -> [UInt8]? {
        let element = rows[next]
        next += 1
        guard element.row.kind == kind else { return nil }
        return element.name.withUnsafeBytes { name in
            let step = element.row.value.withUnsafeBytes { value in
                visit(
                    name,
                    RowView(
                        timestamp: element.row.timestamp, bucket: element.row.bucket, bytes: element.row.bytes,
                        count: element.row.count, value: value))
            }
            return settle(step, at: name)
        }
    }

    /// Takes a visitor's step into account; the result is a target that is ahead.
    private mutating func settle(_ step: ScanStep, at name: UnsafeRawBufferPointer) -> [UInt8]? {
        switch step {
        case .next:
            return nil
        case .stop:
            isStopped = true
            return nil
        case .seek(let target):
            guard order(target, name) > 0 else { return nil }
            while next < rows.count, order(rows[next].name, target) < 0 { next += 1 }
            if let horizon, order(horizon, target) < 0 { restart = .at(target) }
            return target
        }
    }

    private mutating func loadPage(from start: ScanStart, limit: Int) {
        let (active, flushing) = catalog.memory.withLock { memory in
            (
                memory.active.rows[table]?.page(from: start, reverse: reverse, limit: limit) ?? [],
                memory.flushing?.layer.rows[table]?.page(from: start, reverse: reverse, limit: limit) ?? []
            )
        }
        next = 0
        horizon = nil
        for page in [active, flushing] where page.count == limit {
            guard let last = page.last else { continue }
            if let known = horizon, order(known, last.name) <= 0 { continue }
            horizon = last.name
        }
        rows = merge(active, over: flushing)
        if let horizon {
            let last = rows.lastIndex { order($0.name, horizon) <= 0 }
            rows.removeSubrange(((last ?? -1) + 1)...)
        }
        if let end {
            if let horizon, order(horizon, end) >= 0 { self.horizon = nil }
            while let last = rows.last, order(last.name, end) >= 0 { rows.removeLast() }
        }
    }

    private func merge(
        _ upper: [SortedRows.Element], over lower: [SortedRows.Element]
    ) -> [SortedRows.Element] {
        guard !lower.isEmpty else { return upper }
        guard !upper.isEmpty else { return lower }
        var merged: [SortedRows.Element] = []
        merged.reserveCapacity(upper.count + lower.count)
        var index = 0
        for element in upper {
            while index < lower.count {
                let order = order(lower[index].name, element.name)
                if order > 0 { break }
                if order < 0 { merged.append(lower[index]) }
                index += 1
            }
            merged.append(element)
        }
        merged.append(contentsOf: lower[index...])
        return merged
    }

    /// Order in the direction of the scan.
    private func order(_ left: [UInt8], _ right: UnsafeRawBufferPointer) -> Int {
        let order = left.withUnsafeBytes { compare($0, right) }
        return reverse ? -order : order
    }

    private func order(_ left: [UInt8], _ right: [UInt8]) -> Int {
        right.withUnsafeBytes { order(left, $0) }
    }
}
