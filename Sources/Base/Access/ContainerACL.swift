/// An access control list of a container (`X-Container-Read` or `X-Container-Write`), cleaned as OpenStack Swift does.
///
///     let acl = try ContainerACL(parsing: Array(".referrer: *, bob".utf8), for: .read)
///     acl.text        // .r:*,bob
package struct ContainerACL: Sendable, Equatable {
    /// Which of the two lists; only reading may be granted by referrer.
    package enum Right: Sendable {
        case read
        case write
    }

    /// Why a list was refused; `text` is the body of the 400 answer.
    package struct ParseError: Error, Equatable {
        package let text: [UInt8]
    }

    private struct Referrer: Sendable, Equatable {
        var isDenied: Bool
        /// `*`, a host, or a domain with a leading period.
        var host: [UInt8]
    }

    private struct Grant: Sendable, Equatable {
        /// The whole entry, percent-decoded.
        var group: [UInt8]
        /// The two sides of the first colon, when there is one.
        var membership: Identity.Membership?
    }

    /// The canonical form, which is stored and echoed.
    package let text: [UInt8]
    private var referrers: [Referrer] = []
    private var grants: [Grant] = []
    /// Whether `.rlistings` lets referrers list too.
    private var allowsReferrerListings = false

    /// Parses and cleans the value of an ACL header.
    package init(parsing value: some Collection<UInt8>, for right: Right) throws(ParseError) {
        var entries = [[UInt8]]()
        for raw in Array(value).split(separator: UInt8(ascii: ",")) {
            let entry = Array(raw.trimmed)
            if entry.isEmpty { continue }
            entries.append(try Self.clean(entry, for: right))
        }
        text = Array(entries.joined(separator: [UInt8(ascii: ",")]))
        for entry in entries {
            add(entry)
        }
    }

    /// A list read back from storage, where it lies in canonical form; a damaged one grants nothing.
    package init(stored value: some Collection<UInt8>, for right: Right) {
        if let parsed = try? ContainerACL(parsing: value, for: right) {
            self = parsed
        } else {
            text = Array(value)
        }
    }

    /// Whether the list lets `identity`, or anybody with this `Referer`, read.
    /// - Parameter listing: the container itself is read rather than an object in it.
    package func allows(_ identity: Identity?, referrer: [UInt8]?, listing: Bool) -> Bool {
        if !referrers.isEmpty, !listing || allowsReferrerListings, allowsReferrer(referrer) { return true }
        return allows(identity)
    }

    /// Whether the list names `identity` or one of its groups.
    package func allows(_ identity: Identity?) -> Bool {
        guard let identity else { return false }
        return grants.contains { grant in
            identity.groups.contains(grant.group)
                || grant.membership.map { wanted in
                    identity.memberships.contains { Self.matches(wanted, $0) }
                } == true
        }
    }

    private static func matches(_ wanted: Identity.Membership, _ actual: Identity.Membership) -> Bool {
        let any = [UInt8(ascii: "*")]
        return (wanted.project == any || wanted.project == actual.project)
            && (wanted.user == any || wanted.user == actual.user)
    }

    // MARK: Cleaning

    private static func clean(_ entry: [UInt8], for right: Right) throws(ParseError) -> [UInt8] {
        guard let colon = entry.firstIndex(of: UInt8(ascii: ":")) else { return entry }
        let designator = Array(entry[..<colon].trimmed)
        guard designator.first == UInt8(ascii: ".") else { return entry }
        guard referrerDesignators.contains(designator) else {
            throw ParseError("Unknown designator \(quoted(designator)) in ACL: \(quoted(entry))")
        }
        guard right == .read else {
            throw ParseError("Referrers not allowed in write ACL: \(quoted(entry))")
        }
        var host = entry[(colon + 1)...].trimmed
        let isDenied = host.first == UInt8(ascii: "-")
        if isDenied { host = host.dropFirst().trimmed }
        if host.count > 1, host.first == UInt8(ascii: "*") { host = host.dropFirst().trimmed }
        guard !host.isEmpty, !host.elementsEqual([UInt8(ascii: ".")]) else {
            throw ParseError("No host/domain value after referrer designation in ACL: \(quoted(entry))")
        }
        return Array((isDenied ? ".r:-" : ".r:").utf8) + host
    }

    private static let referrerDesignators = [".r", ".ref", ".referer", ".referrer"].map { Array($0.utf8) }
    private static let listingDesignator = Array(".rlistings".utf8)

    /// The entry in quotes, as Python shows a string.
    private static func quoted(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        return text.contains("'") && !text.contains("\"") ? "\"\(text)\"" : "'\(text)'"
    }

    private mutating func add(_ entry: [UInt8]) {
        let prefix = Array(".r:".utf8)
        if entry.starts(with: prefix) {
            var host = entry.dropFirst(prefix.count)
            let isDenied = host.first == UInt8(ascii: "-")
            if isDenied { host = host.dropFirst() }
            referrers.append(Referrer(isDenied: isDenied, host: Array(host)))
            return
        }
        if entry == Self.listingDesignator { allowsReferrerListings = true }
        // Same as swift.common.middleware.acl: names in an ACL may be percent-encoded.
        let group = entry.percentDecoded
        var membership: Identity.Membership?
        if let colon = group.firstIndex(of: UInt8(ascii: ":")) {
            membership = .init(project: Array(group[..<colon]), user: Array(group[(colon + 1)...]))
        }
        grants.append(Grant(group: group, membership: membership))
    }

    // MARK: Referrers

    /// Entries count in order: a later one overrides an earlier one.
    private func allowsReferrer(_ referrer: [UInt8]?) -> Bool {
        let host = Self.host(ofReferrer: referrer ?? [])
        var isAllowed = false
        for entry in referrers {
            let isDomain = entry.host.first == UInt8(ascii: ".")
            let matches = entry.host == host || (isDomain && host.hasSuffix(entry.host))
            if entry.isDenied {
                if matches { isAllowed = false }
            } else if matches || entry.host == [UInt8(ascii: "*")] {
                isAllowed = true
            }
        }
        return isAllowed
    }

    /// The lower-case host of a URL, or `unknown`.
    static func host(ofReferrer url: [UInt8]) -> [UInt8] {
        let unknown = Array("unknown".utf8)
        let slash = UInt8(ascii: "/")
        guard let start = url.indices.first(where: { url[$0...].starts(with: [slash, slash]) }),
            start == 0 || url[start - 1] == UInt8(ascii: ":")
        else { return unknown }
        let ends: [UInt8] = [slash, UInt8(ascii: "?"), UInt8(ascii: "#")]
        var authority = url[(start + 2)...].prefix { !ends.contains($0) }
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) { authority = authority[(at + 1)...] }
        let host: ArraySlice<UInt8>
        if authority.first == UInt8(ascii: "[") {
            host = authority.dropFirst().prefix { $0 != UInt8(ascii: "]") }
        } else {
            host = authority.prefix { $0 != UInt8(ascii: ":") }
        }
        return host.isEmpty ? unknown : host.map { $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }
    }
}

extension ContainerACL.ParseError {
    fileprivate init(_ text: String) {
        self.text = Array(text.utf8)
    }
}

extension BidirectionalCollection<UInt8> {
    /// Without blanks at both ends.
    fileprivate var trimmed: SubSequence {
        func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        guard let first = firstIndex(where: { !isBlank($0) }), let last = lastIndex(where: { !isBlank($0) }) else {
            return self[endIndex...]
        }
        return self[first...last]
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool {
        self.suffix(suffix.count).elementsEqual(suffix)
    }

    /// Percent-decoded once; a `%` without two digits stands for itself.
    fileprivate var percentDecoded: [UInt8] {
        guard contains(UInt8(ascii: "%")) else { return self }
        var decoded = [UInt8]()
        var index = 0
        while index < count {
            if self[index] == UInt8(ascii: "%"), index + 2 < count, let high = ByteText.hexValue(self[index + 1]),
                let low = ByteText.hexValue(self[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(self[index])
                index += 1
            }
        }
        return decoded
    }
}
