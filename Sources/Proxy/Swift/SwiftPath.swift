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
        try target.withRawBytes { endpoint(target: $0, constraints) }.get()
    }

    /// The bytes after the first `?`, still encoded; empty without one.
    package static func query<Target: Collection<UInt8>>(of target: Target) -> Target.SubSequence {
        guard let mark = target.firstIndex(of: UInt8(ascii: "?")) else { return target[target.endIndex...] }
        return target[target.index(after: mark)...]
    }

    private static func endpoint(
        target: UnsafeRawBufferPointer, _ constraints: Constraints
    ) -> Result<SwiftEndpoint, SwiftError> {
        let path = path(of: target)
        // Most paths need no decoding, so they are split where they lie.
        guard path.contains(UInt8(ascii: "%")) else { return endpoint(path: path, constraints) }
        return PercentEncoding.decoded(path).withUnsafeBytes { endpoint(path: $0, constraints) }
    }

    /// The path of an origin-form or absolute-form target (RFC 9112 3.2).
    private static func path(of target: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        let path = target[..<end]
        if path.first != UInt8(ascii: "/") {
            for scheme: StaticString in ["http://", "https://"] where path.hasPrefixIgnoringCase(scheme) {
                let rest = path.dropFirst(scheme.utf8CodeUnitCount).drop { $0 != UInt8(ascii: "/") }
                return UnsafeRawBufferPointer(rebasing: rest)
            }
        }
        return UnsafeRawBufferPointer(rebasing: path)
    }

    private static func endpoint(
        path: UnsafeRawBufferPointer, _ constraints: Constraints
    ) -> Result<SwiftEndpoint, SwiftError> {
        guard !path.contains(0), path.isUTF8 else {
            return .failure(SwiftError(412, "Invalid UTF8 or contains NULL"))
        }
        if let root = rootEndpoint(path) { return .success(root) }
        do throws(SwiftError) {
            return .success(try storageEndpoint(path, constraints))
        } catch {
            return .failure(error)
        }
    }

    private static func rootEndpoint(_ path: UnsafeRawBufferPointer) -> SwiftEndpoint? {
        guard path.count <= 12 else { return nil }
        if path.equals("/info") { return .info }
        if path.equals("/healthcheck") { return .healthcheck }
        let authentication: [StaticString] = ["/auth/v1.0", "/auth/v1", "/auth/v1.0/", "/auth/v1/", "/v1.0", "/v1.0/"]
        return authentication.contains { path.equals($0) } ? .auth : nil
    }

    /// `/v1/account[/container[/object]]`, where one trailing slash after account or container means nothing.
    private static func storageEndpoint(
        _ path: UnsafeRawBufferPointer, _ constraints: Constraints
    ) throws(SwiftError) -> SwiftEndpoint {
        var rest = path[...]
        guard rest.popFirst() == UInt8(ascii: "/") else { throw SwiftError(404) }
        let version = nextPart(&rest)
        let account = nextPart(&rest)
        let container = nextPart(&rest)
        let object = rest
        guard !version.isEmpty else { throw SwiftError(404) }
        guard !account.isEmpty else { throw SwiftError(412, "Bad URL") }
        guard version.equals("v1") || version.equals("v1.0") else { throw SwiftError(400) }
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

    /// What precedes the next slash, which is dropped too.
    private static func nextPart(_ rest: inout Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        defer { rest = slash == rest.endIndex ? rest[slash...] : rest[(slash + 1)...] }
        return rest[..<slash]
    }

    private static func check(
        _ name: Slice<UnsafeRawBufferPointer>, _ kind: String, limit: Int
    ) throws(SwiftError) {
        guard name.count <= limit else {
            throw SwiftError(400, "\(kind) name length of \(name.count) longer than \(limit)")
        }
    }
}
