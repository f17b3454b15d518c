package import NIOCore

/// Asks a node for the users of which it knows something else. What it answers is its own; it asks back if it lacks something itself.
package struct UserQuery: Equatable, Sendable {
    /// The id of the node that asks.
    package var node: [UInt8]
    /// Of what it knows, by groups of names (`Access.UserFile`).
    package var digests: [UInt64]
    /// Only names behind this one are wanted.
    package var after: [UInt8]

    /// Numbers that are read.
    package static let maximumDigests = 256

    package init(node: [UInt8], digests: [UInt64], after: [UInt8]) {
        self.node = node
        self.digests = digests
        self.after = after
    }
}

/// The answer: lines of the users file in order of their names, keys sealed.
package struct UserPage: Equatable, Sendable {
    package var lines: ByteBuffer
    /// Whether there are none behind them.
    package var isWhole: Bool

    /// Bytes of lines: they travel in one frame.
    package static let maximumLines = 1 << 20

    package init(lines: ByteBuffer, isWhole: Bool) {
        self.lines = lines
        self.isWhole = isWhole
    }
}
