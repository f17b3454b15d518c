/// The conditional headers of a request (RFC 9110 13.1), evaluated as OpenStack Swift does. `If-Range` is ignored.
package struct Preconditions: Sendable {
    /// What the conditions say about a GET or HEAD.
    package enum Outcome: Sendable, Equatable {
        case proceed
        /// 304, with ETag and Last-Modified and without body.
        case notModified
        /// 412, with ETag and Last-Modified.
        case failed
    }

    /// More tags than this in one header are cut off.
    private static let maximumTags = 256

    private struct Tags: Sendable {
        var includesAny = false
        var tags: [[UInt8]] = []

        func contains(_ etag: [UInt8]) -> Bool {
            includesAny || tags.contains(etag)
        }
    }

    private var ifMatch: Tags?
    private var ifNoneMatch: Tags?
    /// Seconds since the epoch.
    private var ifModifiedSince: Int64?
    private var ifUnmodifiedSince: Int64?

    /// Dates that cannot be parsed are ignored.
    package init(_ headers: some HeaderFields) {
        headers.forEachField { name, value in
            // All four names begin alike, which most other names do not.
            guard name.count >= 8, ASCII.lower(name[0]) == UInt8(ascii: "i"), name[2] == UInt8(ascii: "-") else {
                return
            }
            if name.equalsIgnoringCase("If-Match") {
                ifMatch = Self.parse(Array(value))
            } else if name.equalsIgnoringCase("If-None-Match") {
                ifNoneMatch = Self.parse(Array(value))
            } else if name.equalsIgnoringCase("If-Modified-Since") {
                ifModifiedSince = HTTPDate.parse(value)
            } else if name.equalsIgnoringCase("If-Unmodified-Since") {
                ifUnmodifiedSince = HTTPDate.parse(value)
            }
        }
    }

    /// Whether there is nothing to evaluate.
    package var isEmpty: Bool {
        ifMatch == nil && ifNoneMatch == nil && ifModifiedSince == nil && ifUnmodifiedSince == nil
    }

    /// For GET and HEAD of an object that exists.
    /// - Parameters:
    ///   - etag: with or without quotes.
    ///   - timestamp: of the object, in 10 µs ticks; dates are compared with its `Last-Modified`.
    package func evaluate(etag: [UInt8], timestamp: UInt64) -> Outcome {
        let tag = Self.unquoted(etag)
        let lastModified = SwiftTimestamp.ceilingSeconds(timestamp)
        if let ifNoneMatch, ifNoneMatch.contains(tag) { return .notModified }
        if let ifMatch, !ifMatch.contains(tag) { return .failed }
        if let ifModifiedSince, lastModified <= ifModifiedSince { return .notModified }
        if let ifUnmodifiedSince, lastModified > ifUnmodifiedSince { return .failed }
        return .proceed
    }

    /// For GET and HEAD of an object that does not exist: `If-Match: *` makes it 412, all else stays 404.
    package var missingStatus: Int {
        ifMatch?.includesAny == true ? 412 : 404
    }

    /// For PUT: whether the object must not exist (`If-None-Match: *`). Any other value is 400.
    package func requiresAbsence() throws(SwiftError) -> Bool {
        guard let ifNoneMatch else { return false }
        guard ifNoneMatch.includesAny else { throw SwiftError(400, "If-None-Match only supports *") }
        return true
    }

    /// The tag without its quotes, as ETags are compared.
    package static func unquoted(_ etag: [UInt8]) -> [UInt8] {
        let quote = UInt8(ascii: "\"")
        guard etag.count >= 2, etag.first == quote, etag.last == quote else { return etag }
        return Array(etag.dropFirst().dropLast())
    }

    private static func parse(_ value: [UInt8]) -> Tags? {
        guard !value.isEmpty else { return nil }
        var tags = Tags()
        for part in value.split(separator: UInt8(ascii: ",")).prefix(maximumTags) {
            let tag = unquoted(Array(part.trimmed))
            if tag.equals("*") {
                tags.includesAny = true
            } else if !tag.isEmpty {
                tags.tags.append(tag)
            }
        }
        return tags
    }
}
