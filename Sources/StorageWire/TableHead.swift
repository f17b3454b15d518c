package import NIOCore

/// What a replica knows of a container or an account besides its rows: when it was made and deleted, and its metadata, each item with
/// the time of its last change, so that replicas merge item by item.
///
/// Encoded form: Documentation/formats/table-head.md.
package struct TableHead: Equatable, Sendable {
    package var account: [UInt8]
    /// Empty for an account.
    package var container: [UInt8]
    package var policy: UInt8
    /// When it was made, or made anew after a deletion; `policy` is of that time.
    package var created: Timestamp
    /// The last PUT.
    package var put: Timestamp
    /// The last DELETE; newer than `put` and no rows: the container is gone. An account is, whatever it lists.
    package var deleted: Timestamp
    package var metadata: [Item]

    package struct Item: Equatable, Sendable {
        package var name: [UInt8]
        /// Empty: removed.
        package var value: [UInt8]
        package var timestamp: Timestamp

        package init(name: [UInt8], value: [UInt8], timestamp: Timestamp) {
            self.name = name
            self.value = value
            self.timestamp = timestamp
        }
    }

    package static let version: UInt8 = 1
    package static let maximumItems = 1024
    /// So many seconds after its deletion an account may be made again, if nothing is left in it (OpenStack Swift's `reclaim_age`).
    package static let accountRest: Int64 = 7 * 86_400

    package init(
        account: [UInt8], container: [UInt8], policy: UInt8, created: Timestamp, put: Timestamp,
        deleted: Timestamp = .never, metadata: [Item] = []
    ) {
        self.account = account
        self.container = container
        self.policy = policy
        self.created = created
        self.put = put
        self.deleted = deleted
        self.metadata = metadata
    }

    /// Whether the table exists, given the number of its rows: a container that was deleted while a row was on its way lives on.
    package func isLive(rows: Int64) -> Bool { put > deleted || rows > 0 && !isDeletedAccount }

    /// An account that was deleted and not made again. What it lists is still to be removed.
    package var isDeletedAccount: Bool { container.isEmpty && deleted > put }

    /// Whether an account is deleted and can't be made again yet, given the number of its containers.
    package func isRefused(rows: Int64, at now: Timestamp) -> Bool {
        isDeletedAccount && (rows > 0 || now.seconds < deleted.seconds + Self.accountRest)
    }

    /// The value of an item that is there.
    package func value(of name: StaticString) -> [UInt8]? {
        name.withUTF8Buffer { wanted in
            metadata.first { !$0.value.isEmpty && $0.name.elementsEqual(wanted) }?.value
        }
    }

    /// Takes an item if it is newer than what is there; of two with one timestamp, the larger value, so that the order of merges does not matter.
    package mutating func merge(_ item: Item) {
        if let index = metadata.firstIndex(where: { $0.name == item.name }) {
            let present = metadata[index]
            let isNewer =
                present.timestamp != item.timestamp
                ? present.timestamp < item.timestamp : present.value.lexicographicallyPrecedes(item.value)
            if isNewer { metadata[index] = item }
        } else {
            metadata.append(item)
            if metadata.count > Self.maximumItems { forgetOne() }
        }
    }

    /// Names that were removed long ago must not fill the head until it can no longer be decoded: the oldest removed item goes, and if
    /// all are live the oldest of them.
    private mutating func forgetOne() {
        func isSooner(_ left: Item, _ right: Item) -> Bool {
            if left.value.isEmpty != right.value.isEmpty { return left.value.isEmpty }
            return left.timestamp != right.timestamp
                ? left.timestamp < right.timestamp : left.name.lexicographicallyPrecedes(right.name)
        }
        guard let index = metadata.indices.min(by: { isSooner(metadata[$0], metadata[$1]) }) else { return }
        metadata.remove(at: index)
    }

    /// The newer of both in everything; commutative, associative and idempotent as long as there are at most `maximumItems` names.
    package mutating func merge(_ other: TableHead) {
        if (other.created, other.policy) > (created, policy) {
            created = other.created
            policy = other.policy
        }
        put = max(put, other.put)
        deleted = max(deleted, other.deleted)
        for item in other.metadata { merge(item) }
        forgetMetadataOfDeletedAccount()
    }

    /// An account's metadata ends with it, on replicas too that hear of the deletion late. Not a container's: it may live on.
    private mutating func forgetMetadataOfDeletedAccount() {
        guard container.isEmpty, deleted > .never else { return }
        metadata.removeAll { $0.timestamp <= deleted }
    }

    /// The same for heads that say the same, in whatever order their items are.
    package var digest: UInt64 {
        var sum = Digest64()
        sum.add(account)
        sum.add(container)
        for number in [UInt64(policy), created.rawValue, put.rawValue, deleted.rawValue] { sum.add(number) }
        return metadata.reduce(sum.value) { digest, item in
            var sum = Digest64()
            sum.add(item.name)
            sum.add(item.value)
            sum.add(item.timestamp.rawValue)
            return digest ^ sum.value
        }
    }

    package func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeShortBytes(account)
        buffer.writeShortBytes(container)
        buffer.writeInteger(policy)
        buffer.writeInteger(created.rawValue)
        buffer.writeInteger(put.rawValue)
        buffer.writeInteger(deleted.rawValue)
        buffer.writeInteger(UInt16(metadata.count))
        for item in metadata {
            buffer.writeShortBytes(item.name)
            buffer.writeShortBytes(item.value)
            buffer.writeInteger(item.timestamp.rawValue)
        }
        return buffer
    }

    package init(decoding buffer: ByteBuffer) throws(WireError) {
        var reader = WireReader(buffer)
        guard try reader.integer(UInt8.self) == Self.version else { throw .malformed("table head version") }
        account = try reader.shortBytes()
        container = try reader.shortBytes()
        policy = try reader.integer()
        created = Timestamp(rawValue: try reader.integer())
        put = Timestamp(rawValue: try reader.integer())
        deleted = Timestamp(rawValue: try reader.integer())
        let count = Int(try reader.integer(UInt16.self))
        guard count <= Self.maximumItems else { throw .malformed("table head has too many items") }
        metadata = []
        metadata.reserveCapacity(count)
        for _ in 0..<count {
            metadata.append(
                Item(
                    name: try reader.shortBytes(), value: try reader.shortBytes(),
                    timestamp: Timestamp(rawValue: try reader.integer())))
        }
        try reader.expectEnd()
    }
}
