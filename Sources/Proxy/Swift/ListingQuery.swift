/// Forms in which an account or a container is listed.
package enum ListingFormat: Sendable, Equatable {
    case text
    case json
    /// `application/xml`
    case xml
    /// The same document as `text/xml`.
    case textXML

    /// Value of `Content-Type`.
    package var contentType: StaticString {
        switch self {
        case .text: "text/plain; charset=utf-8"
        case .json: "application/json; charset=utf-8"
        case .xml: "application/xml; charset=utf-8"
        case .textXML: "text/xml; charset=utf-8"
        }
    }
}

/// What a GET of an account or container asks to see.
package struct ListingQuery: Sendable, Equatable {
    /// Which of the two listings, for their limits.
    package enum Kind: Sendable {
        case account
        case container
    }

    /// Most rows and subdirs of the answer.
    package var limit: Int
    /// Names after this one only (before it, in reverse); empty for none.
    package var marker: [UInt8]
    /// Names before this one only (after it, in reverse); empty for none.
    package var endMarker: [UInt8]
    package var prefix: [UInt8]
    /// Collapses names that contain it after the prefix into subdirs; empty for none.
    package var delimiter: [UInt8]
    /// The old style of listing a directory: objects right below it and no subdirs. Overrides prefix and delimiter.
    package var path: [UInt8]?
    package var isReversed: Bool
    package var format: ListingFormat
    /// Whether the format came from Accept, so that the answer varies with it.
    package var variesWithAccept: Bool

    /// What names must begin with: `path` without its trailing slashes and with one, or else `prefix`.
    package var effectivePrefix: [UInt8] {
        guard let path, !path.isEmpty else { return path ?? prefix }
        let end = path.lastIndex { $0 != UInt8(ascii: "/") }.map { $0 + 1 } ?? 0
        return path[..<end] + [UInt8(ascii: "/")]
    }

    /// What collapses names: a slash with `path`, whose subdirs are then left out, or else `delimiter`.
    package var effectiveDelimiter: [UInt8] {
        path == nil ? delimiter : [UInt8(ascii: "/")]
    }

    /// Errors: 412 for a limit above the maximum, 400 for parameters or Accept that are malformed, 406 when no format
    /// is acceptable.
    package init(
        _ parameters: QueryParameters, accept: [UInt8]?, kind: Kind, constraints: Constraints
    ) throws(SwiftError) {
        (format, variesWithAccept) = try Self.negotiate(parameters, accept: accept)
        let maximum = kind == .account ? constraints.accountListingLimit : constraints.containerListingLimit
        limit = try Self.limit(parameters, maximum: maximum)
        marker = Array(try parameters.text(of: "marker") ?? [])
        endMarker = Array(try parameters.text(of: "end_marker") ?? [])
        prefix = Array(try parameters.text(of: "prefix") ?? [])
        delimiter = Array(try parameters.text(of: "delimiter") ?? [])
        path = kind == .container ? try parameters.text(of: "path").map { Array($0) } : nil
        isReversed = parameters.value(of: "reverse")?.isTrueValue ?? false
    }

    /// Same as OpenStack Swift: what is not a plain number means the default.
    private static func limit(_ parameters: QueryParameters, maximum: Int) throws(SwiftError) -> Int {
        guard let given = parameters.value(of: "limit")?.decimal else { return maximum }
        guard given <= UInt64(maximum) else { throw SwiftError(412, "Maximum limit is \(maximum)") }
        return Int(given)
    }

    private static func negotiate(
        _ parameters: QueryParameters, accept: [UInt8]?
    ) throws(SwiftError) -> (ListingFormat, Bool) {
        if let format = try parameters.text(of: "format"), !format.isEmpty {
            if format.equalsIgnoringCase("json") { return (.json, false) }
            return (format.equalsIgnoringCase("xml") ? .xml : .text, false)
        }
        return (try AcceptHeader.bestFormat(accept ?? []), true)
    }
}
