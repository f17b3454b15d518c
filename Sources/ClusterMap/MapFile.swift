package import Daemon
import StorageWire
import Synchronization

/// The acceptor of one node on its disk, `DIR/cluster.map`: whatever it has answered survives a crash.
///
/// Blocks while it writes; not for event loops.
package final class MapFile: Sendable {
    private let path: String
    private let known: Mutex<MapAcceptor>
    /// Held while a message is taken and written; who only reads does not wait for the disk.
    private let turn = Mutex<Void>(())

    private static let magic = Array("RFACCEPT".utf8)
    private static let format: UInt8 = 1
    /// Two maps and a little.
    private static let maximumFile = 4 << 20

    /// Reads the file; without one nothing has been decided yet.
    ///
    /// - Throws: `ClusterMapError` when it is damaged, `FileError` when it can't be read.
    package init(path: String) throws {
        self.path = path
        guard let bytes = try AtomicFile.read(path, limit: Self.maximumFile) else {
            known = Mutex(MapAcceptor())
            return
        }
        do throws(ClusterMapError) { known = Mutex(try Self.decode(bytes)) } catch {
            throw ClusterMapError("\(path): \(error)")
        }
    }

    /// What is known now.
    package var current: MapAcceptor { known.withLock { $0 } }

    /// Lets the acceptor take a message and makes what it then knows durable.
    ///
    /// - Throws: `FileError`; then it has forgotten the message, and nothing must be answered.
    package func update<Result: Sendable>(_ body: (inout MapAcceptor) -> Result) throws(FileError) -> Result {
        try turn.withLock { _ throws(FileError) in
            let before = current
            var next = before
            let result = body(&next)
            if next != before {
                try AtomicFile.write(Self.encode(next), to: path, mode: 0o600)
                known.withLock { $0 = next }
            }
            return result
        }
    }

    static func encode(_ acceptor: MapAcceptor) -> [UInt8] {
        var bytes = magic + [format]
        bytes.append(number: acceptor.version)
        bytes.append(block: acceptor.value)
        bytes.append(ballot: acceptor.promised)
        bytes.append(ballot: acceptor.accepted?.ballot)
        bytes.append(block: acceptor.accepted?.value ?? [])
        let checksum = checksum(bytes)
        for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: checksum >> shift)) }
        return bytes
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var checksum = CRC32C()
        bytes.withUnsafeBytes { checksum.update($0) }
        return checksum.value
    }

    static func decode(_ file: [UInt8]) throws(ClusterMapError) -> MapAcceptor {
        let bytes = Array(file.dropLast(4))
        guard file.count > 4, checksum(bytes) == file.suffix(4).reduce(0, { $0 << 8 | UInt32($1) }) else {
            throw ClusterMapError("the map file is damaged")
        }
        var reader = BlockReader(bytes)
        guard try reader.take(magic.count) == magic else { throw ClusterMapError("not a map file") }
        let found = try reader.take(1)[0]
        guard found == format else { throw .otherFormat("the map file", found, known: format) }
        let version = try reader.number()
        let value = try reader.block()
        let promised = try reader.ballot()
        let ballot = try reader.ballot()
        let accepted = try reader.block()
        guard reader.isAtEnd else { throw ClusterMapError("bytes are left over") }
        return MapAcceptor(
            version: version, value: value, promised: promised,
            accepted: ballot.map { MapAcceptor.Accepted(ballot: $0, value: accepted) })
    }
}

extension BlockReader {
    fileprivate mutating func number() throws(ClusterMapError) -> UInt64 {
        try take(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A node id, empty for no ballot, and the round.
    fileprivate mutating func ballot() throws(ClusterMapError) -> MapBallot? {
        let node = try block()
        let round = try number()
        return node.isEmpty ? nil : MapBallot(round: round, node: node)
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: UInt64) {
        for shift in stride(from: UInt64(56), through: 0, by: -8) { append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    fileprivate mutating func append(ballot: MapBallot?) {
        append(block: ballot?.node ?? [])
        append(number: ballot?.round ?? 0)
    }
}
