package import NIOCore

/// Sums over the live rows of one table.
package struct TableStats: Equatable, Sendable {
    /// Sums over the live rows of one bucket (for a container: of one storage policy).
    package struct Totals: Equatable, Sendable {
        package var rows: Int64 = 0
        package var bytes: Int64 = 0
        package var count: Int64 = 0

        package init() {}

        var isZero: Bool { rows == 0 && bytes == 0 && count == 0 }
    }

    /// Only buckets with something in them, in ascending order.
    /// XOR over all rows, deleted ones too, of a hash of name, timestamp, kind and sums: equal for replicas that hold the same.
    package internal(set) var digest: UInt64 = 0
    /// The newest timestamp of a row.
    package internal(set) var lastChange: UInt64 = 0
    package private(set) var buckets: [(bucket: UInt8, totals: Totals)] = []

    package init() {}

    /// All buckets together.
    package var total: Totals {
        buckets.reduce(into: Totals()) { sum, next in
            sum.rows &+= next.totals.rows
            sum.bytes &+= next.totals.bytes
            sum.count &+= next.totals.count
        }
    }

    package subscript(bucket: UInt8) -> Totals {
        get { buckets.first { $0.bucket == bucket }?.totals ?? Totals() }
        set {
            if let index = buckets.firstIndex(where: { $0.bucket >= bucket }) {
                if buckets[index].bucket != bucket {
                    buckets.insert((bucket, newValue), at: index)
                } else if newValue.isZero {
                    buckets.remove(at: index)
                } else {
                    buckets[index].totals = newValue
                }
            } else if !newValue.isZero {
                buckets.append((bucket, newValue))
            }
        }
    }

    package static func == (left: TableStats, right: TableStats) -> Bool {
        left.digest == right.digest && left.lastChange == right.lastChange
            && left.buckets.elementsEqual(right.buckets) { $0.bucket == $1.bucket && $0.totals == $1.totals }
    }
}

/// What the transform of `Write.tableInfo` answers.
package enum TableDecision: Sendable {
    /// The new info of the table.
    case replace(ByteBuffer)
    /// Nothing is written; the code comes back as `WriteOutcome.refused`.
    case refuse(code: UInt16)
}

/// A row of a container or account listing, live or deleted.
package struct Row: Equatable, Sendable {
    package var name: [UInt8]
    package var timestamp: UInt64
    package var deleted: Bool
    /// Which of the table's sums the row counts in (for a container: the storage policy).
    package var bucket: UInt8
    package var bytes: Int64
    package var count: Int64
    package var value: ByteBuffer

    package init(
        name: [UInt8], timestamp: UInt64, deleted: Bool = false, bucket: UInt8 = 0, bytes: Int64 = 0,
        count: Int64 = 0, value: ByteBuffer = ByteBuffer()
    ) {
        self.name = name
        self.timestamp = timestamp
        self.deleted = deleted
        self.bucket = bucket
        self.bytes = bytes
        self.count = count
        self.value = value
    }
}

/// A live row during a scan; its value is valid only inside the visit.
package struct RowView: ~Copyable {
    package let timestamp: UInt64
    package let bucket: UInt8
    package let bytes: Int64
    package let count: Int64
    package let value: UnsafeRawBufferPointer
}

/// Which rows a scan visits.
package enum RowKind: Sendable {
    case live
    case deleted
}

/// Where a scan begins.
package enum ScanStart: Sendable {
    /// At the first name; the last one for a reverse scan.
    case first
    /// Behind these bytes; for a reverse scan before them.
    case after([UInt8])
    /// At these bytes or the next name in the scan's direction.
    case at([UInt8])
}

/// How a scan goes on after a row.
package enum ScanStep: Sendable {
    case next
    /// To the first name that is not before these bytes in the scan's direction. A target that is not ahead means
    /// `.next`.
    case seek(to: [UInt8])
    case stop
}
