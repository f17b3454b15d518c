package import NIOCore

/// The layout of messages. Peers agree on it in the handshake; it is also the first byte of every message, so that a recorded one explains itself.
enum MessageVersion {
    static let current: UInt8 = 1

    static func check(_ reader: inout WireReader) throws(WireError) {
        let version = try reader.integer(UInt8.self)
        guard version == current else { throw .malformed("message version \(version)") }
    }
}

extension StorageRequest {
    private enum Kind: UInt8 {
        case putObject = 1
        case openUpload = 2
        case chunk = 3
        case commitUpload = 4
        case readObject = 5
        case readBody = 6
        case deleteObject = 7
        case updateObject = 8
        case putRow = 9
        case updateTable = 10
        case deleteTable = 11
        case readTable = 12
        case listTable = 13
        case status = 14
        case deleteAccount = 15
        case replication = 20
        case workers = 40
        case setWorker = 41
        case verifyObject = 42
        case prepareMap = 32
        case acceptMap = 33
        case learnMap = 34
        case readMap = 35
        case changeMap = 36
        case program = 43
        case users = 44
    }

    private var kind: Kind {
        switch self {
        case .putObject: .putObject
        case .openUpload: .openUpload
        case .chunk: .chunk
        case .commitUpload: .commitUpload
        case .readObject: .readObject
        case .readBody: .readBody
        case .deleteObject: .deleteObject
        case .updateObject: .updateObject
        case .putRow: .putRow
        case .updateTable: .updateTable
        case .deleteTable: .deleteTable
        case .deleteAccount: .deleteAccount
        case .readTable: .readTable
        case .listTable: .listTable
        case .status: .status
        case .replication: .replication
        case .workers: .workers
        case .setWorker: .setWorker
        case .verifyObject: .verifyObject
        case .prepareMap: .prepareMap
        case .acceptMap: .acceptMap
        case .learnMap: .learnMap
        case .readMap: .readMap
        case .changeMap: .changeMap
        case .program: .program
        case .users: .users
        }
    }

    /// Appends the message and returns the body that has to follow right behind, `nil` when there is none.
    package func encode(into buffer: inout ByteBuffer) -> ByteBuffer? {
        buffer.writeMultipleIntegers(MessageVersion.current, kind.rawValue)
        switch self {
        case .putObject(let message): return message.encode(into: &buffer)
        case .openUpload(let message): message.encode(into: &buffer)
        case .chunk(let message): return message.encode(into: &buffer)
        case .commitUpload(let message): message.encode(into: &buffer)
        case .readObject(let message): message.encode(into: &buffer)
        case .readBody(let message): message.encode(into: &buffer)
        case .deleteObject(let message): message.encode(into: &buffer)
        case .updateObject(let message): message.encode(into: &buffer)
        case .putRow(let message): message.encode(into: &buffer)
        case .updateTable(let message): message.encode(into: &buffer)
        case .deleteTable(let message): message.encode(into: &buffer)
        case .deleteAccount(let message): message.encode(into: &buffer)
        case .readTable(let address): buffer.write(address)
        case .listTable(let message): message.encode(into: &buffer)
        case .status, .workers, .program: break
        case .setWorker(let message): message.encode(into: &buffer)
        case .verifyObject(let address): buffer.write(address)
        case .replication(let message): message.encode(into: &buffer)
        case .prepareMap(let message): message.encode(into: &buffer)
        case .acceptMap(let message): return message.encode(into: &buffer)
        case .learnMap(let message): return message.encode(into: &buffer)
        case .readMap(let version): buffer.writeInteger(version)
        case .changeMap(let change): return change
        case .users(let query): query.encode(into: &buffer)
        }
        return nil
    }

    /// Reads a whole message; bodies are slices of `payload`.
    ///
    /// - Throws: `WireError.unsupported` for a kind of a later version, `malformed` for anything else that `encode` did not write.
    package init(decoding payload: ByteBuffer) throws(WireError) {
        var reader = WireReader(payload)
        try MessageVersion.check(&reader)
        let number = try reader.integer(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw .unsupported("request kind \(number)") }
        switch kind {
        case .putObject: self = .putObject(try PutObject(from: &reader))
        case .openUpload: self = .openUpload(try OpenUpload(from: &reader))
        case .chunk: self = .chunk(try UploadChunk(from: &reader))
        case .commitUpload: self = .commitUpload(try CommitUpload(from: &reader))
        case .readObject: self = .readObject(try ReadObject(from: &reader))
        case .readBody: self = .readBody(try ReadBody(from: &reader))
        case .deleteObject: self = .deleteObject(try DeleteObject(from: &reader))
        case .updateObject: self = .updateObject(try UpdateObject(from: &reader))
        case .putRow: self = .putRow(try PutRow(from: &reader))
        case .updateTable: self = .updateTable(try UpdateTable(from: &reader))
        case .deleteTable: self = .deleteTable(try DeleteTable(from: &reader))
        case .deleteAccount: self = .deleteAccount(try DeleteAccount(from: &reader))
        case .readTable: self = .readTable(try reader.tableAddress())
        case .listTable: self = .listTable(try ListTable(from: &reader))
        case .status: self = .status
        case .replication: self = .replication(try ReplicationRequest(from: &reader))
        case .workers: self = .workers
        case .setWorker: self = .setWorker(try SetWorker(from: &reader))
        case .verifyObject: self = .verifyObject(try reader.objectAddress())
        case .prepareMap: self = .prepareMap(try PrepareMap(from: &reader))
        case .acceptMap: self = .acceptMap(try AcceptMap(from: &reader))
        case .learnMap: self = .learnMap(try DecidedMap(from: &reader))
        case .readMap: self = .readMap(newerThan: try reader.integer())
        case .changeMap: self = .changeMap(reader.rest())
        case .program: self = .program
        case .users: self = .users(try UserQuery(from: &reader))
        }
        try reader.expectEnd()
    }
}
