/// What is stored with an object beside its bytes, size, ETag and timestamp.
package struct ObjectMetadata: Sendable, Equatable {
    package var contentType: [UInt8]
    /// `X-Object-Meta-*` and the optional headers, under canonical names.
    package var items: [MetadataItem]
    /// Second of the epoch from which the object is gone (`X-Delete-At`).
    package var deleteAt: UInt64?

    package init(contentType: [UInt8], items: [MetadataItem] = [], deleteAt: UInt64? = nil) {
        self.contentType = contentType
        self.items = items
        self.deleteAt = deleteAt
    }

    /// The metadata of a PUT.
    /// - Parameters:
    ///   - now: timestamp of the request, in 10 µs ticks.
    /// - Throws: 400 with OpenStack Swift's sentence.
    package init(
        put headers: some HeaderFields, object: [UInt8], now: UInt64, constraints: Constraints
    ) throws(SwiftError) {
        let given = try ObjectHeaders(headers, now: now, constraints: constraints)
        let type: [UInt8]
        if let contentType = given.contentType, !given.detectsContentType {
            type = contentType
        } else {
            type = ContentTypeTable.guess(object)
        }
        self.init(contentType: type, items: given.items, deleteAt: given.deleteAt)
    }

    /// What is left after a POST: all user metadata and optional headers are replaced, the Content-Type is kept unless
    /// given, and a static large object stays one.
    package func posted(
        _ headers: some HeaderFields, now: UInt64, constraints: Constraints
    ) throws(SwiftError) -> ObjectMetadata {
        posted(try ObjectHeaders(headers, now: now, constraints: constraints))
    }

    /// `posted(_:now:constraints:)` with headers that were read before the object was.
    package func posted(_ given: ObjectHeaders) -> ObjectMetadata {
        var result = ObjectMetadata(
            contentType: given.contentType ?? contentType, items: given.items, deleteAt: given.deleteAt)
        if let index = items.index(of: Self.staticLargeObject) { result.items.append(items[index]) }
        return result
    }

    /// The metadata of a copy of this object.
    ///
    /// Given headers override those of the source; `X-Fresh-Metadata: true` drops the source's. What made the source a
    /// large object is dropped, since the copy has the bytes themselves.
    /// - Parameter keepsManifest: with `multipart-manifest=get` the manifest is what is copied.
    package func copied(
        _ headers: some HeaderFields, keepsManifest: Bool, now: UInt64, constraints: Constraints
    ) throws(SwiftError) -> ObjectMetadata {
        let given = try ObjectHeaders(headers, now: now, constraints: constraints)
        let manifests = [Self.staticLargeObject, Self.manifest]
        var result = ObjectMetadata(contentType: given.contentType ?? contentType)
        for item in items {
            let isManifest = manifests.contains(item.name)
            if isManifest ? keepsManifest : !given.isFresh { result.items.append(item) }
        }
        result.deleteAt = given.deleteAt ?? (given.isFresh ? nil : deleteAt)
        for item in given.items {
            result.items.set(item)
        }
        try result.check(constraints)
        return result
    }

    private func check(_ constraints: Constraints) throws(SwiftError) {
        var limits = MetadataLimits(.object, constraints)
        let prefix = MetadataTarget.object.prefix
        for item in items where item.name.hasPrefixIgnoringCase(prefix) {
            try limits.add(name: item.name.dropFirst(prefix.utf8CodeUnitCount), value: item.value)
        }
    }

    static let staticLargeObject = Array("X-Static-Large-Object".utf8)
    static let manifest = Array("X-Object-Manifest".utf8)
}
