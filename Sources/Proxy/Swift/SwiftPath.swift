/// What a request target names in the Swift API.
///
/// Names are decoded exactly once and never normalised: `a/b`, `a//b`, `a/b/` and `./b` are four objects.
package enum SwiftEndpoint: Equatable, Sendable {
    /// `/info`
    case info
    /// `/healthcheck`
    case healthcheck
    /// `/auth/v1.0` and its spellings: v1 authentication.
    case auth
    case account([UInt8])
    case container(account: [UInt8], container: [UInt8])
    case object(account: [UInt8], container: [UInt8], object: [UInt8])
}

/// Takes a raw request target apart.
package enum SwiftPath {
    /// The endpoint that `target` names. A query after `?` is ignored here (`QueryParameters`).
    ///
    /// Errors: 412 for invalid UTF-8, NUL and URLs without an account, 404 for what cannot be split, 400 for an unknown
    /// API version and for names that are too long.
    package static func parse(
        _ target: some Collection<UInt8>, constraints: Constraints
    ) throws(SwiftError) -> SwiftEndpoint {
        let encoded = Array(path(of: target))
        let path = PercentEncoding.decoded(encoded)
        guard !path.contains(0), path.isUTF8 else { throw SwiftError(412, "Invalid UTF8 or contains NULL") }
        if let root = rootEndpoint(path) { return root }
        return try storageEndpoint(path, constraints: constraints)
    }

    /// The bytes after the first `?`, still encoded; empty without one.
    package static func query<Target: Collection<UInt8>>(of target: Target) -> Target.SubSequence {
        guard let mark = target.firstIndex(of: UInt8(ascii: "?")) else { return target[target.endIndex...] }
        return target[target.index(after: mark)...]
    }

    /// The path of an origin-form or absolute-form target (RFC 9112 3.2).
    private static func path<Target: Collection<UInt8>>(of target: Target) -> Target.SubSequence {
        let path = target.prefix { $0 != UInt8(ascii: "?") }
        for scheme: StaticString in ["http://", "https://"] where path.hasPrefixIgnoringCase(scheme) {
            return path.dropFirst(scheme.utf8CodeUnitCount).drop { $0 != UInt8(ascii: "/") }
        }
        return path
    }

    private static func rootEndpoint(_ path: [UInt8]) -> SwiftEndpoint? {
        if path.equals("/info") { return .info }
        if path.equals("/healthcheck") { return .healthcheck }
        let authentication: [StaticString] = ["/auth/v1.0", "/auth/v1", "/auth/v1.0/", "/auth/v1/", "/v1.0", "/v1.0/"]
        return authentication.contains { path.equals($0) } ? .auth : nil
    }

    /// `/v1/account[/container[/object]]`, where one trailing slash after account or container means nothing.
    private static func storageEndpoint(
        _ path: [UInt8], constraints: Constraints
    ) throws(SwiftError) -> SwiftEndpoint {
        let slash = UInt8(ascii: "/")
        let parts = path.split(separator: slash, maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0].isEmpty, !parts[1].isEmpty else { throw SwiftError(404) }
        let account = parts.count > 2 ? parts[2] : []
        let container = parts.count > 3 ? parts[3] : []
        let object = parts.count > 4 ? parts[4] : []
        guard !account.isEmpty else { throw SwiftError(412, "Bad URL") }
        guard parts[1].equals("v1") || parts[1].equals("v1.0") else { throw SwiftError(400) }
        try check(account, "Account", limit: constraints.maxAccountNameLength)
        guard !container.isEmpty else {
            guard object.isEmpty else { throw SwiftError(412, "Bad URL") }
            return .account(Array(account))
        }
        try check(container, "Container", limit: constraints.maxContainerNameLength)
        guard !object.isEmpty else { return .container(account: Array(account), container: Array(container)) }
        try check(object, "Object", limit: constraints.maxObjectNameLength)
        return .object(account: Array(account), container: Array(container), object: Array(object))
    }

    private static func check(_ name: ArraySlice<UInt8>, _ kind: String, limit: Int) throws(SwiftError) {
        guard name.count <= limit else {
            throw SwiftError(400, "\(kind) name length of \(name.count) longer than \(limit)")
        }
    }
}
