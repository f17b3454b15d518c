package import NIOCore
package import Ring

/// Which object on which device.
package struct ObjectAddress: Hashable, Sendable {
    /// The device's id in the rings of the cluster.
    package var device: UInt16
    /// Index of the storage policy.
    package var policy: UInt8
    package var hash: PathHash

    package init(device: UInt16, policy: UInt8, hash: PathHash) {
        self.device = device
        self.policy = policy
        self.hash = hash
    }
}

/// The container replica that an object server tells about a write.
package struct RowTarget: Hashable, Sendable {
    package var device: UInt16
    package var container: PathHash

    package init(device: UInt16, container: PathHash) {
        self.device = device
        self.container = container
    }
}

/// Under which condition a put is taken.
package enum PutCondition: UInt8, Sendable {
    case none = 0
    /// Only when no live object is there (`If-None-Match: *`).
    case ifAbsent = 1
}

/// A whole small object in one message.
package struct PutObject: Sendable {
    package var address: ObjectAddress
    package var timestamp: Timestamp
    package var condition: PutCondition
    /// `nil` leaves the listing alone (a handoff, whose replicator tells the container later).
    package var row: RowTarget?
    /// An encoded `ObjectHead`.
    package var head: ByteBuffer
    package var body: ByteBuffer

    package init(
        address: ObjectAddress, timestamp: Timestamp, condition: PutCondition, row: RowTarget?, head: ByteBuffer,
        body: ByteBuffer
    ) {
        self.address = address
        self.timestamp = timestamp
        self.condition = condition
        self.row = row
        self.head = head
        self.body = body
    }
}

/// Begins a streamed put: `chunk`s follow on the same call, each answered by `accepted`, then one or more `commit`s.
package struct OpenUpload: Sendable {
    package var address: ObjectAddress
    /// Bytes that will come, -1 when not known.
    package var expectedLength: Int64

    package init(address: ObjectAddress, expectedLength: Int64) {
        self.address = address
        self.expectedLength = expectedLength
    }
}

/// A piece of a streamed body; at most `maximumChunk` bytes. Frames carry a checksum of what is in them.
package struct UploadChunk: Sendable {
    package static let maximumChunk = 1 << 20
    package var bytes: ByteBuffer

    package init(bytes: ByteBuffer) {
        self.bytes = bytes
    }
}

/// Makes a streamed body an object. May be sent again with a higher timestamp when the answer is `superseded`.
package struct CommitUpload: Sendable {
    package var timestamp: Timestamp
    package var condition: PutCondition
    package var row: RowTarget?
    package var head: ByteBuffer

    package init(timestamp: Timestamp, condition: PutCondition, row: RowTarget?, head: ByteBuffer) {
        self.timestamp = timestamp
        self.condition = condition
        self.row = row
        self.head = head
    }
}

/// Asks for an object. A body of up to 256 KiB comes with the answer when it is wanted; a larger one is pulled with `readBody` on the same call.
package struct ReadObject: Sendable {
    package enum Wanted: UInt8, Sendable {
        /// Timestamps only: answered from the index.
        case version = 0
        case head = 1
        case body = 2
    }

    package var address: ObjectAddress
    package var wanted: Wanted
    /// What the device itself has is wanted: while it is behind it asks no others.
    package var isOwn: Bool

    package init(address: ObjectAddress, wanted: Wanted, isOwn: Bool = false) {
        self.address = address
        self.wanted = wanted
        self.isOwn = isOwn
    }
}

/// Pulls a piece of a large body; answered by `body`. At most `maximumLength` bytes.
package struct ReadBody: Sendable {
    package static let maximumLength = 1 << 20
    package var offset: Int64
    package var length: Int

    package init(offset: Int64, length: Int) {
        self.offset = offset
        self.length = length
    }
}

/// Writes a tombstone.
package struct DeleteObject: Sendable {
    package var address: ObjectAddress
    package var timestamp: Timestamp
    package var row: RowTarget?
    /// The object's name, for the row.
    package var name: [UInt8]

    package init(address: ObjectAddress, timestamp: Timestamp, row: RowTarget?, name: [UInt8]) {
        self.address = address
        self.timestamp = timestamp
        self.row = row
        self.name = name
    }
}

/// Replaces the head of the object whose body came with `base`.
package struct UpdateObject: Sendable {
    package var address: ObjectAddress
    package var timestamp: Timestamp
    package var base: Timestamp
    package var row: RowTarget?
    package var head: ByteBuffer

    package init(address: ObjectAddress, timestamp: Timestamp, base: Timestamp, row: RowTarget?, head: ByteBuffer) {
        self.address = address
        self.timestamp = timestamp
        self.base = base
        self.row = row
        self.head = head
    }
}

/// What a replica holds of an object.
package struct ObjectReply: Equatable, Sendable {
    /// Of the newest record: put or update.
    package var timestamp: Timestamp
    /// Of the put that brought the body.
    package var dataTimestamp: Timestamp
    /// An encoded `ObjectHead`; empty when the question was only for the version.
    package var head: ByteBuffer
    package var bodyLength: Int64
    /// The whole body when it is small and was wanted, else `nil`: pull it.
    package var body: ByteBuffer?

    package init(
        timestamp: Timestamp, dataTimestamp: Timestamp, head: ByteBuffer, bodyLength: Int64, body: ByteBuffer?
    ) {
        self.timestamp = timestamp
        self.dataTimestamp = dataTimestamp
        self.head = head
        self.bodyLength = bodyLength
        self.body = body
    }
}
