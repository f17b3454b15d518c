import StorageWire

/// What a check found of one copy.
enum CopyVerdict: String, CaseIterable {
    case ok, missing, older, damaged, unreachable

    /// What the replicas of an object say, one verdict for each.
    ///
    /// - Parameter listed: the time that the listing shows; a newer version than that may be there.
    /// - Returns: nil when the newest is that it was deleted, and nobody holds anything else.
    static func judge(_ replies: [StorageReply], listed: Timestamp?) -> [CopyVerdict]? {
        var newest = listed ?? .never
        var deleted = Timestamp.never
        for reply in replies {
            switch reply {
            case .verified(let object): newest = max(newest, object.timestamp)
            case .tombstone(let timestamp): deleted = max(deleted, timestamp)
            default: continue
            }
        }
        // At the same time a delete wins.
        let isDeleted = deleted >= newest && deleted > .never
        let verdicts = replies.map { verdict($0, newest: newest, isDeleted: isDeleted) }
        return isDeleted && verdicts.allSatisfy { $0 == .ok } ? nil : verdicts
    }

    private static func verdict(_ reply: StorageReply, newest: Timestamp, isDeleted: Bool) -> CopyVerdict {
        switch reply {
        case .verified(let object): !isDeleted && object.timestamp >= newest ? .ok : .older
        case .tombstone: isDeleted ? .ok : .older
        case .absent: isDeleted ? .ok : .missing
        case .failed(let failure): failure.reason == .corrupt ? .damaged : .unreachable
        default: .unreachable
        }
    }
}

/// How many copies were found in which state.
struct VerifySums {
    var objects = 0
    private var copies = [CopyVerdict: Int]()

    /// Replicas of listings that could not be read.
    var unreadListings = 0

    mutating func add(_ verdicts: [CopyVerdict]) {
        objects += 1
        for verdict in verdicts { copies[verdict, default: 0] += 1 }
    }

    subscript(verdict: CopyVerdict) -> Int { copies[verdict] ?? 0 }

    var total: Int { copies.values.reduce(0, +) }
    var isSound: Bool { self[.ok] == total && unreadListings == 0 }
}
