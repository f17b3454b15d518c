import NIOCore

extension TableRow {
    /// The line of a container's listing that tells of an object.
    package init(object head: ObjectHead, policy: UInt8, timestamp: Timestamp) {
        self.init(
            name: head.object, timestamp: timestamp, deleted: false, policy: policy, bytes: head.size, count: 1,
            value: ObjectRowValue(etag: head.etag, contentType: head.contentType).encoded())
    }

    /// The line that takes a deleted object out of its container's listing.
    package init(removed name: [UInt8], policy: UInt8, timestamp: Timestamp) {
        self.init(
            name: name, timestamp: timestamp, deleted: true, policy: policy, bytes: 0, count: 0, value: ByteBuffer())
    }
}
