package import NIOCore
package import Ring

/// A listing: the objects of a container, or the containers of an account.
package enum TableKind: UInt8, Sendable {
    case container = 1
    case account = 2
}

/// Which listing on which device.
package struct TableAddress: Hashable, Sendable {
    package var device: UInt16
    package var kind: TableKind
    package var hash: PathHash

    package init(device: UInt16, kind: TableKind, hash: PathHash) {
        self.device = device
        self.kind = kind
        self.hash = hash
    }
}

/// One line of a listing as it is stored and sent.
package struct TableRow: Equatable, Sendable {
    package var name: [UInt8]
    package var timestamp: Timestamp
    package var deleted: Bool
    /// Index of the storage policy, by which sums are kept apart.
    package var policy: UInt8
    /// Of an object its size; of a container the sum of its objects'.
    package var bytes: Int64
    /// Of an object 1; of a container the number of its objects.
    package var count: Int64
    /// Of an object an encoded `ObjectRowValue`; of a container empty.
    package var value: ByteBuffer

    package init(
        name: [UInt8], timestamp: Timestamp, deleted: Bool, policy: UInt8, bytes: Int64, count: Int64,
        value: ByteBuffer
    ) {
        self.name = name
        self.timestamp = timestamp
        self.deleted = deleted
        self.policy = policy
        self.bytes = bytes
        self.count = count
        self.value = value
    }
}

/// What a listing shows of an object besides name, size and time.
package struct ObjectRowValue: Equatable, Sendable {
    package var etag: [UInt8]
    package var contentType: [UInt8]

    package init(etag: [UInt8], contentType: [UInt8]) {
        self.etag = etag
        self.contentType = contentType
    }

    package func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(4 + etag.count + contentType.count)
        buffer.writeShortBytes(etag)
        buffer.writeShortBytes(contentType)
        return buffer
    }

    package init(decoding buffer: ByteBuffer) throws(WireError) {
        var reader = WireReader(buffer)
        etag = try reader.shortBytes()
        contentType = try reader.shortBytes()
        try reader.expectEnd()
    }
}

/// Writes rows. For an account, rows of containers: `timestamp` is that of the container's PUT, DELETE or report.
package struct PutRow: Sendable {
    package var table: TableAddress
    package var row: TableRow

    package init(table: TableAddress, row: TableRow) {
        self.table = table
        self.row = row
    }
}

/// Creates a table or merges metadata into it.
package struct UpdateTable: Sendable {
    /// The client named no policy: a new container gets the default one, which is 0.
    package static let anyPolicy = UInt8.max

    package var table: TableAddress
    package var timestamp: Timestamp
    /// Creates the table when it is not there, and makes it live again when it was deleted; else such a table answers `absent`. An account that
    /// was deleted lately answers `tombstone`.
    package var creates: Bool
    package var account: [UInt8]
    /// Empty for an account.
    package var container: [UInt8]
    /// Policy of a new container; a live one keeps its own, and refuses another unless this is `anyPolicy`.
    package var policy: UInt8
    /// Names in canonical case; an empty value removes.
    package var metadata: [ObjectHead.Header]

    package init(
        table: TableAddress, timestamp: Timestamp, creates: Bool, account: [UInt8], container: [UInt8],
        policy: UInt8, metadata: [ObjectHead.Header]
    ) {
        self.table = table
        self.timestamp = timestamp
        self.creates = creates
        self.account = account
        self.container = container
        self.policy = policy
        self.metadata = metadata
    }
}

/// Deletes a container that has no rows.
package struct DeleteTable: Sendable {
    package var table: TableAddress
    package var timestamp: Timestamp

    package init(table: TableAddress, timestamp: Timestamp) {
        self.table = table
        self.timestamp = timestamp
    }
}

/// Deletes an account, whatever it lists. A replica that has never heard of it keeps the deletion all the same, so that a majority knows it.
package struct DeleteAccount: Sendable {
    package var table: TableAddress
    package var timestamp: Timestamp
    package var account: [UInt8]

    package init(table: TableAddress, timestamp: Timestamp, account: [UInt8]) {
        self.table = table
        self.timestamp = timestamp
        self.account = account
    }
}

/// Sums of a table's live rows under one storage policy.
package struct TableSum: Equatable, Sendable {
    package var policy: UInt8
    package var rows: Int64
    package var bytes: Int64
    package var count: Int64

    package init(policy: UInt8, rows: Int64, bytes: Int64, count: Int64) {
        self.policy = policy
        self.rows = rows
        self.bytes = bytes
        self.count = count
    }
}

/// The state of a table on one replica.
package struct TableReply: Equatable, Sendable {
    /// Encoded `TableHead`, `nil` when the table was never made.
    package var head: ByteBuffer?
    package var sums: [TableSum]
    /// XOR over all rows, deleted ones too: two replicas with the same digest hold the same rows.
    package var digest: UInt64
    /// Timestamp of the newest row.
    package var lastChange: Timestamp

    package init(head: ByteBuffer?, sums: [TableSum], digest: UInt64, lastChange: Timestamp) {
        self.head = head
        self.sums = sums
        self.digest = digest
        self.lastChange = lastChange
    }
}

/// A page of a listing is asked for with these; names compare as bytes.
package struct ListTable: Equatable, Sendable {
    package var table: TableAddress
    /// At most `maximumLimit`.
    package var limit: Int
    /// Exclusive.
    package var marker: [UInt8]
    /// Exclusive.
    package var endMarker: [UInt8]
    package var prefix: [UInt8]
    package var delimiter: [UInt8]
    package var reverse: Bool
    /// Rows that are tombstones too (then there is no delimiter): for merging replicas that differ.
    package var includesDeleted: Bool
    /// With the old `path=` parameter: names that collapse into a subdirectory are left out.
    package var omitsSubdirectories: Bool

    package static let maximumLimit = 10_000

    package init(
        table: TableAddress, limit: Int, marker: [UInt8] = [], endMarker: [UInt8] = [], prefix: [UInt8] = [],
        delimiter: [UInt8] = [], reverse: Bool = false, includesDeleted: Bool = false,
        omitsSubdirectories: Bool = false
    ) {
        self.table = table
        self.limit = limit
        self.marker = marker
        self.endMarker = endMarker
        self.prefix = prefix
        self.delimiter = delimiter
        self.reverse = reverse
        self.includesDeleted = includesDeleted
        self.omitsSubdirectories = omitsSubdirectories
    }
}

/// A page of a listing and the state of the table at the same moment. `entries` is the encoded form of `ListingEntry`s, decoded one by one by who renders them.
package struct ListingReply: Sendable {
    /// In place of a digest when rows were written while the page was put together: equals nothing.
    package static let unsettledDigest: UInt64 = 0

    package var table: TableReply
    package var count: Int
    package var entries: ByteBuffer

    package init(table: TableReply, count: Int, entries: ByteBuffer) {
        self.table = table
        self.count = count
        self.entries = entries
    }
}

/// A line of a page: a row, or what a delimiter collapsed.
package enum ListingEntry: Equatable, Sendable {
    case row(TableRow)
    case subdirectory([UInt8])

    package func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .row(let row):
            Self.encodeRow(
                name: row.name, timestamp: row.timestamp, deleted: row.deleted, policy: row.policy, bytes: row.bytes,
                count: row.count, value: row.value.readableBytesView, into: &buffer)
        case .subdirectory(let name):
            buffer.writeInteger(UInt8(0))
            buffer.writeShortBytes(name)
        }
    }

    /// The encoded form of a row without making one, for the server's scan.
    package static func encodeRow(
        name: some Collection<UInt8>, timestamp: Timestamp, deleted: Bool, policy: UInt8, bytes: Int64, count: Int64,
        value: some Collection<UInt8>, into buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(deleted ? UInt8(2) : UInt8(1))
        buffer.writeShortBytes(name)
        buffer.writeInteger(timestamp.rawValue)
        buffer.writeInteger(policy)
        buffer.writeInteger(bytes)
        buffer.writeInteger(count)
        buffer.writeShortBytes(value)
    }

    package init(from reader: inout WireReader) throws(WireError) {
        let kind = try reader.integer(UInt8.self)
        let name = try reader.shortBytes()
        switch kind {
        case 0: self = .subdirectory(name)
        case 1, 2:
            self = .row(
                TableRow(
                    name: name, timestamp: Timestamp(rawValue: try reader.integer()), deleted: kind == 2,
                    policy: try reader.integer(), bytes: try reader.integer(), count: try reader.integer(),
                    value: ByteBuffer(bytes: try reader.shortBytes())))
        default: throw .malformed("listing entry \(kind)")
        }
    }
}
