/// Which program a node runs, for who upgrades a cluster.
package struct ProgramReport: Equatable, Sendable {
    /// As in "0.2.0".
    package var version: String
    /// What tells one build of a version from another, hexadecimal; empty when the binary has no such mark.
    package var build: String
    /// What it speaks with other nodes.
    package var wire: ClosedRange<WireVersion>

    package init(version: String, build: String, wire: ClosedRange<WireVersion>) {
        self.version = version
        self.build = build
        self.wire = wire
    }
}
