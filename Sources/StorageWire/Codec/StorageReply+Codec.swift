package import NIOCore

extension StorageReply {
    private enum Kind: UInt8 {
        case stored = 1
        case accepted = 2
        case superseded = 3
        case conditionFailed = 4
        case baseMismatch = 5
        case absent = 6
        case tombstone = 7
        case object = 8
        case body = 9
        case notEmpty = 10
        case policyConflict = 11
        case table = 12
        case tableStored = 13
        case listing = 14
        case status = 15
        case failed = 16
        case replication = 20
        case workers = 40
        case verified = 41
        case mapPromised = 32
        case mapAccepted = 33
        case mapRefused = 34
        case mapStanding = 35
        case map = 36
        case mapChanged = 37
        case program = 43
        case users = 44
    }

    private var kind: Kind {
        switch self {
        case .stored: .stored
        case .accepted: .accepted
        case .superseded: .superseded
        case .conditionFailed: .conditionFailed
        case .baseMismatch: .baseMismatch
        case .absent: .absent
        case .tombstone: .tombstone
        case .object: .object
        case .body: .body
        case .notEmpty: .notEmpty
        case .policyConflict: .policyConflict
        case .table: .table
        case .tableStored: .tableStored
        case .listing: .listing
        case .status: .status
        case .workers: .workers
        case .verified: .verified
        case .failed: .failed
        case .replication: .replication
        case .mapPromised: .mapPromised
        case .mapAccepted: .mapAccepted
        case .mapRefused: .mapRefused
        case .mapStanding: .mapStanding
        case .map: .map
        case .mapChanged: .mapChanged
        case .program: .program
        case .users: .users
        }
    }

    /// Appends the message and returns the body that has to follow right behind, `nil` when there is none.
    package func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.writeMultipleIntegers(MessageVersion.current, kind.rawValue)
        switch self {
        case .stored(let rowStored): buffer.write(rowStored)
        case .accepted(let bytes): buffer.writeInteger(Int64(bytes))
        case .superseded(let timestamp), .conditionFailed(let timestamp), .baseMismatch(let timestamp),
            .tombstone(let timestamp):
            buffer.write(timestamp)
        case .absent, .notEmpty, .mapAccepted: break
        case .object(let message), .verified(let message): return message.encode(into: &buffer)
        case .body(let bytes): return bytes
        case .policyConflict(let policy): buffer.writeInteger(policy)
        case .table(let message): message.encode(into: &buffer)
        case .tableStored(let created): buffer.write(created)
        case .listing(let message): return message.encode(into: &buffer)
        case .status(let message): message.encode(into: &buffer)
        case .workers(let workers): buffer.write(workers)
        case .failed(let message): message.encode(into: &buffer)
        case .replication(let message): message.encode(into: &buffer)
        case .mapPromised(let message): return message.encode(into: &buffer)
        case .mapRefused(let ballot): ballot.encode(into: &buffer)
        case .mapStanding(let standing): standing.encode(into: &buffer)
        case .map(let standing, let value):
            standing.encode(into: &buffer)
            return value
        case .mapChanged(let result): return result
        case .program(let message): message.encode(into: &buffer)
        case .users(let page): return page.encode(into: &buffer)
        }
        return nil
    }

    /// Reads a whole message; bodies are slices of `payload`.
    ///
    /// - Throws: `WireError.malformed` for anything that `encode` did not write.
    package init(decoding payload: ByteBuffer) throws(WireError) {
        var reader = WireReader(payload)
        try MessageVersion.check(&reader)
        let number = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw .malformed("reply kind \(number)") }
        switch kind {
        case .stored: self = .stored(rowStored: try reader.flag())
        case .accepted: self = .accepted(bytes: Int(try reader.number()))
        case .superseded: self = .superseded(try reader.timestamp())
        case .conditionFailed: self = .conditionFailed(try reader.timestamp())
        case .baseMismatch: self = .baseMismatch(try reader.timestamp())
        case .absent: self = .absent
        case .tombstone: self = .tombstone(try reader.timestamp())
        case .object: self = .object(try ObjectReply(from: &reader))
        case .body: self = .body(reader.rest())
        case .notEmpty: self = .notEmpty
        case .policyConflict: self = .policyConflict(try reader.integer())
        case .table: self = .table(try TableReply(from: &reader))
        case .tableStored: self = .tableStored(created: try reader.flag())
        case .listing: self = .listing(try ListingReply(from: &reader))
        case .status: self = .status(try NodeStatus(from: &reader))
        case .workers: self = .workers(try reader.workers())
        case .verified: self = .verified(try ObjectReply(from: &reader))
        case .failed: self = .failed(try StorageFailure(from: &reader))
        case .replication: self = .replication(try ReplicationReply(from: &reader))
        case .mapPromised: self = .mapPromised(try MapPromise(from: &reader))
        case .mapAccepted: self = .mapAccepted
        case .mapRefused: self = .mapRefused(try MapBallot(from: &reader))
        case .mapStanding: self = .mapStanding(try MapStanding(from: &reader))
        case .map: self = .map(try MapStanding(from: &reader), reader.rest())
        case .mapChanged: self = .mapChanged(reader.rest())
        case .program: self = .program(try ProgramReport(from: &reader))
        case .users: self = .users(try UserPage(from: &reader))
        }
        try reader.expectEnd()
    }
}
