package import NIOCore

/// The number of an attempt to decide the next cluster map. Attempts of different nodes never share one.
package struct MapBallot: Hashable, Comparable, Sendable {
    package var round: UInt64
    /// The id of the node that attempts.
    package var node: [UInt8]

    package init(round: UInt64, node: [UInt8]) {
        self.round = round
        self.node = node
    }

    package static func < (left: MapBallot, right: MapBallot) -> Bool {
        left.round != right.round ? left.round < right.round : left.node.lexicographicallyPrecedes(right.node)
    }
}

/// Asks a member of the cluster to take no older attempts at a version of the map.
package struct PrepareMap: Equatable, Sendable {
    /// The version that is to be decided: the one after the newest.
    package var version: UInt64
    package var ballot: MapBallot

    package init(version: UInt64, ballot: MapBallot) {
        self.version = version
        self.ballot = ballot
    }
}

/// Asks a member of the cluster to accept a value for a version of the map.
package struct AcceptMap: Equatable, Sendable {
    package var version: UInt64
    package var ballot: MapBallot
    package var value: ByteBuffer

    package init(version: UInt64, ballot: MapBallot, value: ByteBuffer) {
        self.version = version
        self.ballot = ballot
        self.value = value
    }
}

/// A map that is decided.
package struct DecidedMap: Equatable, Sendable {
    package var version: UInt64
    package var value: ByteBuffer

    /// The longest value: it travels in one frame.
    package static let maximumValue = 1 << 20

    package init(version: UInt64, value: ByteBuffer) {
        self.version = version
        self.value = value
    }
}

/// The promise that answers `PrepareMap`.
package struct MapPromise: Equatable, Sendable {
    /// What the member has accepted for that version before.
    package var accepted: AcceptedMap?

    package init(accepted: AcceptedMap?) { self.accepted = accepted }
}

/// A value that a member has accepted, and in which attempt.
package struct AcceptedMap: Equatable, Sendable {
    package var ballot: MapBallot
    package var value: ByteBuffer

    package init(ballot: MapBallot, value: ByteBuffer) {
        self.ballot = ballot
        self.value = value
    }
}

/// Who a node is, which map it has, and what time it is there.
package struct MapStanding: Equatable, Sendable {
    package var node: [UInt8]
    /// 0 when it has none.
    package var version: UInt64
    /// 10-microsecond ticks since 1970.
    package var clock: UInt64

    package init(node: [UInt8], version: UInt64, clock: UInt64) {
        self.node = node
        self.version = version
        self.clock = clock
    }
}
