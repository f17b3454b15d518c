/// The part of a PUT, POST or COPY header that becomes metadata of an object.
///
/// System metadata (`X-Object-Sysmeta-*`, `X-Object-Transient-Sysmeta-*`, `X-Backend-*`) never comes from clients: only
/// what is listed here is taken.
package struct ObjectHeaders: Sendable, Equatable {
    /// Nil when absent or empty.
    package var contentType: [UInt8]?
    /// `X-Object-Meta-*` and the optional headers, under canonical names.
    package var items: [MetadataItem] = []
    /// From `X-Delete-After` or `X-Delete-At`, in seconds since the epoch.
    package var deleteAt: UInt64?
    /// `X-Detect-Content-Type: true`
    package var detectsContentType = false
    /// `X-Fresh-Metadata: true`
    package var isFresh = false

    /// Optional headers that are stored (`allowed_headers` of OpenStack Swift's object server).
    private static let optional: [StaticString] = [
        "Content-Disposition", "Content-Encoding", "X-Object-Manifest", "Cache-Control", "Content-Language", "Expires",
        "X-Robots-Tag",
    ]

    /// - Parameter now: timestamp of the request, in 10 µs ticks.
    /// - Throws: 400 with OpenStack Swift's sentence.
    package init(_ headers: some HeaderFields, now: UInt64, constraints: Constraints) throws(SwiftError) {
        var reader = Reader(constraints: constraints)
        headers.forEachField { reader.read($0, $1) }
        if let failure = reader.failure { throw failure }
        self = reader.headers
        deleteAt = try Self.expiry(after: reader.deleteAfter, at: reader.deleteAt, now: now)
        try check(constraints)
    }

    /// `X-Delete-After` wins over `X-Delete-At`.
    private static func expiry(after: [UInt8]?, at: [UInt8]?, now: UInt64) throws(SwiftError) -> UInt64? {
        let second = Int64(now / SwiftTimestamp.ticksPerSecond)
        // Ten digits, as in the names of the queue of expiring objects.
        let latest: Int64 = 9_999_999_999
        if let after {
            guard let delay = after.signedDecimal else { throw SwiftError(400, "Non-integer X-Delete-After") }
            let moment = min(second.addingReportingOverflow(min(delay, latest)).partialValue, latest)
            guard UInt64(clamping: moment) * SwiftTimestamp.ticksPerSecond > now else {
                throw SwiftError(400, "X-Delete-After in past")
            }
            return UInt64(moment)
        }
        guard let at else { return nil }
        guard let given = at.signedDecimal else { throw SwiftError(400, "Non-integer X-Delete-At") }
        let moment = UInt64(clamping: min(given, latest))
        guard moment * SwiftTimestamp.ticksPerSecond > now else { throw SwiftError(400, "X-Delete-At in past") }
        return moment
    }

    private func check(_ constraints: Constraints) throws(SwiftError) {
        if let contentType, !contentType.isUTF8 || contentType.contains(0) {
            throw SwiftError(400, "Invalid Content-Type")
        }
        var limits = MetadataLimits(.object, constraints)
        let prefix = MetadataTarget.object.prefix
        for item in items {
            if item.name.hasPrefixIgnoringCase(prefix) {
                try limits.add(name: item.name.dropFirst(prefix.utf8CodeUnitCount), value: item.value)
            } else if item.name == ObjectMetadata.manifest {
                try Self.checkManifest(item.value)
            }
        }
    }

    /// `container/prefix`, percent-encoded, neither part empty.
    private static func checkManifest(_ value: [UInt8]) throws(SwiftError) {
        let parts = PercentEncoding.decoded(value).split(
            separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        let hasQuery = value.contains(UInt8(ascii: "?")) || value.contains(UInt8(ascii: "&"))
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, !hasQuery else {
            throw SwiftError(400, "X-Object-Manifest must be in the format container/prefix")
        }
    }

    /// Gathers fields; the closure that feeds it cannot throw, so the first failure is kept.
    private struct Reader {
        let constraints: Constraints
        var headers = ObjectHeaders()
        var deleteAfter: [UInt8]?
        var deleteAt: [UInt8]?
        var failure: SwiftError?
        var count = 0

        init(constraints: Constraints) {
            self.constraints = constraints
        }

        mutating func read(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            guard failure == nil else { return }
            do throws(SwiftError) {
                count += 1
                guard count <= constraints.maxHeaderCount else { throw SwiftError(400, "Too many headers") }
                try MetadataLimits(.object, constraints).check(header: name, value: value)
                try take(name, value)
            } catch {
                failure = error
            }
        }

        private mutating func take(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(SwiftError) {
            guard let first = name.first else { return }
            if ASCII.lower(first) == UInt8(ascii: "x") {
                if name.hasPrefixIgnoringCase(MetadataTarget.object.prefix) {
                    headers.items.merge(MetadataItem(name: MetadataName.canonical(name), value: Array(value)))
                    return
                }
                if try takeDirective(name, value) { return }
            } else if name.equalsIgnoringCase("Content-Type") {
                headers.contentType = value.isEmpty ? nil : Array(value)
                return
            }
            if optional.contains(where: { name.equalsIgnoringCase($0) }), !value.isEmpty {
                headers.items.set(MetadataItem(name: MetadataName.canonical(name), value: Array(value)))
            }
        }

        private mutating func takeDirective(
            _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
        ) throws(SwiftError) -> Bool {
            if name.equalsIgnoringCase("X-Delete-After") {
                deleteAfter = Array(value)
            } else if name.equalsIgnoringCase("X-Delete-At") {
                deleteAt = Array(value)
            } else if name.equalsIgnoringCase("X-Detect-Content-Type") {
                headers.detectsContentType = value.isTrueValue
            } else if name.equalsIgnoringCase("X-Fresh-Metadata") {
                headers.isFresh = value.isTrueValue
            } else if name.equalsIgnoringCase("X-Static-Large-Object") {
                throw SwiftError(
                    400,
                    "X-Static-Large-Object is a reserved header. To create a static large object add query param "
                        + "multipart-manifest=put.")
            } else {
                return false
            }
            return true
        }
    }

    private init() {}
}
