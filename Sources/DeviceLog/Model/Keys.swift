package import Ring

/// Which object: its storage policy and the hash of its path.
package struct ObjectKey: Hashable, Sendable {
    package let policy: UInt8
    package let hash: PathHash

    package init(policy: UInt8, hash: PathHash) {
        self.policy = policy
        self.hash = hash
    }
}

/// What the rows of a table are.
package enum TableKind: UInt8, Hashable, Sendable, CaseIterable {
    /// The rows are the objects of a container.
    case container = 1
    /// The rows are the containers of an account.
    case account = 2
    /// Of the device itself: the rows tell which of its objects cease to be, and when.
    case expiry = 3
}

/// Which listing: a container or an account.
package struct TableKey: Hashable, Sendable {
    package let kind: TableKind
    package let hash: PathHash

    package init(kind: TableKind, hash: PathHash) {
        self.kind = kind
        self.hash = hash
    }
}

/// Where a record begins: segment number and byte offset. Later records have larger positions.
package struct LogPosition: Hashable, Comparable, Sendable {
    /// Segment in the upper, byte offset in the lower 32 bits.
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    init(segment: UInt32, offset: UInt32) {
        rawValue = UInt64(segment) << 32 | UInt64(offset)
    }

    /// Before every record.
    package static let start = LogPosition(rawValue: 0)

    var segment: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
    var offset: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

    package static func < (left: LogPosition, right: LogPosition) -> Bool {
        left.rawValue < right.rawValue
    }
}
