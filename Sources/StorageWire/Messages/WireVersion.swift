/// A version of what nodes say to each other. `Documentation/formats/storage-wire.md` tells what came with each.
///
/// Two nodes use the newest that both speak, so that a cluster goes on while its nodes are upgraded one by one.
package struct WireVersion: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let version2 = WireVersion(rawValue: 2)
    package static let version3 = WireVersion(rawValue: 3)
    /// Those that this program speaks.
    package static let spoken = version2...version3

    package static func < (left: WireVersion, right: WireVersion) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "\(rawValue)" }
}

extension StorageRequest {
    /// The first version that has the message. To a peer that speaks less it can't be sent.
    ///
    /// Messages that begin a longer call, and those that follow on one, are in the oldest version that is spoken: a link sends them before it
    /// knows its peer.
    package var minimumVersion: WireVersion {
        switch self {
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .putRow,
            .updateTable, .deleteTable, .readTable, .listTable, .status, .workers, .setWorker, .verifyObject,
            .prepareMap,
            .acceptMap, .learnMap, .readMap, .changeMap:
            .version2
        case .replication(let request): request.minimumVersion
        case .program, .deleteAccount, .users: .version3
        }
    }
}

extension ReplicationRequest {
    /// As `StorageRequest.minimumVersion`.
    package var minimumVersion: WireVersion {
        switch self {
        case .digests, .range, .fetch, .tables, .rows, .fetchTables, .head, .list: .version2
        case .versions, .objects, .passes, .reclaim: .version3
        }
    }
}
