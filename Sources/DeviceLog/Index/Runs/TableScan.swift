/// A walk over the rows of one table and kind, in either direction.
struct TableScan {
    private let cursor: MergedCursor
    /// What the keys of the table begin with.
    private let prefix: [UInt8]
    private let reverse: Bool

    typealias Visit = (_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> ScanStep

    init(_ runs: [Run], prefix: [UInt8], reverse: Bool) {
        cursor = MergedCursor(runs, reverse: reverse)
        self.prefix = prefix
        self.reverse = reverse
    }

    func run(from start: ScanStart, _ visit: Visit) throws(DeviceLogError) {
        try seek(to: start)
        while let entry = cursor.entry, let name {
            if entry.isRemoved {
                try cursor.move()
                continue
            }
            guard let view = IndexCoding.rowView(entry.value) else { throw .corrupt }
            switch visit(name, view) {
            case .stop: return
            case .next: try cursor.move()
            case .seek(let target):
                let order = target.withUnsafeBytes { compare($0, name) }
                if reverse ? order < 0 : order > 0 {
                    try (prefix + target).withBytes { (key) throws(DeviceLogError) in try cursor.skip(to: key) }
                } else {
                    try cursor.move()
                }
            }
        }
    }

    /// Of the row that the cursor is at; nil behind the table.
    private var name: UnsafeRawBufferPointer? {
        let key = cursor.key
        guard key.count >= prefix.count else { return nil }
        let isInside = prefix.withUnsafeBytes { compare($0, key.part(0, prefix.count)) == 0 }
        return isInside ? key.part(prefix.count, key.count - prefix.count) : nil
    }

    private func seek(to start: ScanStart) throws(DeviceLogError) {
        switch start {
        case .first where reverse:
            // The smallest key behind all that begin with the prefix; it never is all 0xFF, its first byte is the number of a space.
            var bound = prefix
            while bound.last == 0xFF { bound.removeLast() }
            bound[bound.count - 1] += 1
            try seek(bound, orAt: false)
        case .first: try seek(prefix, orAt: true)
        case .at(let name): try seek(prefix + name, orAt: true)
        case .after(let name): try seek(prefix + name, orAt: false)
        }
    }

    private func seek(_ key: [UInt8], orAt isIncluded: Bool) throws(DeviceLogError) {
        try key.withBytes { (key) throws(DeviceLogError) in
            if reverse { return try cursor.seek(before: key, orAt: isIncluded) }
            try cursor.seek(atOrBehind: key)
            if !isIncluded, cursor.entry != nil, compare(cursor.key, key) == 0 { try cursor.move() }
        }
    }
}
