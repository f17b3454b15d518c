/// The other end of a server-side copy, named by a header.
package struct CopyLocation: Equatable, Sendable {
    package var account: [UInt8]
    package var container: [UInt8]
    package var object: [UInt8]
}

extension CopyLocation {
    /// Where a COPY goes: `Destination: container/object` and perhaps `Destination-Account`.
    /// - Parameter account: of the request, the default.
    package static func destination(
        _ headers: some HeaderFields, account: [UInt8], constraints: Constraints
    ) throws(SwiftError) -> CopyLocation {
        guard let value = headers.value(of: "destination"), !value.isEmpty else {
            throw SwiftError(412, "Destination header required")
        }
        return try CopyLocation(
            value, header: "Destination", example: "<container name>/<object name>",
            account: headers.value(of: "destination-account"), default: account, constraints: constraints)
    }

    /// Where a PUT copies from: `X-Copy-From: container/object` and perhaps `X-Copy-From-Account`. Nil for a plain PUT.
    package static func source(
        _ headers: some HeaderFields, account: [UInt8], constraints: Constraints
    ) throws(SwiftError) -> CopyLocation? {
        guard let value = headers.value(of: "x-copy-from") else { return nil }
        if let length = headers.value(of: "content-length"), length.trimmed.decimal != 0 {
            throw SwiftError(400, "Copy requests require a zero byte body")
        }
        return try CopyLocation(
            value, header: "X-Copy-From", example: "<container name>/<object name>",
            account: headers.value(of: "x-copy-from-account"), default: account, constraints: constraints)
    }

    private init(
        _ value: [UInt8], header: String, example: String, account: [UInt8]?, default: [UInt8],
        constraints: Constraints
    ) throws(SwiftError) {
        let path = PercentEncoding.decoded(value.prefix { $0 != UInt8(ascii: "?") })
        guard path.isUTF8, !path.contains(0) else { throw SwiftError(412, "Invalid UTF8 or contains NULL") }
        let slash = UInt8(ascii: "/")
        let parts = (path.first == slash ? path.dropFirst() : path[...]).split(
            separator: slash, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            throw SwiftError(412, "\(header) header must be of the form \(example)")
        }
        container = Array(parts[0])
        object = Array(parts[1])
        self.account = try account.map { text throws(SwiftError) in try Self.account(text) } ?? `default`
        guard container.count <= constraints.maxContainerNameLength, object.count <= constraints.maxObjectNameLength,
            self.account.count <= constraints.maxAccountNameLength
        else { throw SwiftError(400, "Name in \(header) header is too long") }
    }

    private static func account(_ value: [UInt8]) throws(SwiftError) -> [UInt8] {
        let account = PercentEncoding.decoded(value)
        guard !account.isEmpty else { throw SwiftError(412, "Account name cannot be empty") }
        guard !account.contains(UInt8(ascii: "/")) else { throw SwiftError(412, "Account name cannot contain slashes") }
        guard account.isUTF8, !account.contains(0) else { throw SwiftError(412, "Invalid UTF8 or contains NULL") }
        return account
    }
}
