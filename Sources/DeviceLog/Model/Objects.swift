package import NIOCore

/// What a device holds under an `ObjectKey`.
package enum ObjectState: Sendable {
    case absent
    case tombstone(timestamp: UInt64)
    case live(StoredObject)
}

/// A live object as read from the log; metadata and inline body were checked against their checksum.
package struct StoredObject: Sendable {
    /// Of the newest record, a put or a metadata update.
    package var timestamp: UInt64
    /// Of the put that brought the body.
    package var dataTimestamp: UInt64
    /// Of the newest record: a metadata update replaces the metadata wholly.
    package var metadata: ByteBuffer
    /// Bytes of the body, wherever it is.
    package var bodyLength: Int64
    package var body: StoredBody
}

/// The body of an object.
package enum StoredBody: Sendable {
    /// Empty when the caller asked for `BodyWanted.none`.
    case inline(ByteBuffer)
    case blob(BlobReader)
}

/// How much of an object `DeviceLog.object` reads.
package enum BodyWanted: Sendable {
    /// Metadata only. Without a body the checksum still covers the whole record, so this saves no disk read.
    case none
    /// Inline bodies are returned; blobs come as a reader.
    case inline
}

/// What the index knows of an object, without a read of its record.
package struct ObjectVersion: Equatable, Sendable {
    package enum Kind: UInt8, Equatable, Sendable {
        case absent = 0
        case live = 1
        case tombstone = 2
        /// Something is there whose bytes are damaged on this device; ask another replica.
        case quarantined = 3
    }

    package var kind: Kind
    /// 0 when absent.
    package var timestamp: UInt64
    /// 0 unless live.
    package var dataTimestamp: UInt64

    package static let absent = ObjectVersion(kind: .absent, timestamp: 0, dataTimestamp: 0)
}
