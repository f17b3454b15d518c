/// The v1 token: `AUTH_tk` and base64url of a payload with its HMAC-SHA256, so that any proxy can check it alone.
///
/// Payload, format 1: `[1][flags][expiry: 8][generation: 8]`, then account, user and groups as length-prefixed bytes.
/// The generation is drawn anew whenever a user's key or roles change, which withdraws older tokens.
package struct SignedToken: Sendable, Equatable {
    /// Tokens last a day unless configured otherwise.
    package static let defaultLifetime: Duration = .seconds(86_400)
    /// Longer input is refused before any work is done.
    package static let maximumLength = 4096
    private static let prefix = Array("AUTH_tk".utf8)
    private static let format: UInt8 = 1

    package var account: [UInt8]
    package var user: [UInt8]
    package var roles: UserRoles
    package var groups: [[UInt8]]
    /// Seconds since the epoch; the token is good before this second.
    package var expiry: UInt64
    package var generation: UInt64

    package init(
        account: [UInt8], user: [UInt8], roles: UserRoles, groups: [[UInt8]], expiry: UInt64, generation: UInt64
    ) {
        self.account = account
        self.user = user
        self.roles = roles
        self.groups = groups
        self.expiry = expiry
        self.generation = generation
    }

    /// The text of `X-Auth-Token`.
    func encode(signer: MessageAuthenticator) -> [UInt8] {
        var payload: [UInt8] = [Self.format, roles.rawValue]
        payload.append(bigEndian: expiry)
        payload.append(bigEndian: generation)
        payload.append(lengthPrefixed: account)
        payload.append(lengthPrefixed: user)
        payload.append(UInt8(clamping: groups.count))
        for group in groups.prefix(255) {
            payload.append(lengthPrefixed: group)
        }
        return Self.prefix + ByteText.base64URL(payload + signer.code(payload))
    }

    /// The token that `text` spells, when its signature is right; expiry and generation are the caller's to judge.
    static func decode(_ text: UnsafeRawBufferPointer, signer: MessageAuthenticator) -> SignedToken? {
        guard text.count <= maximumLength, text.starts(with: prefix),
            let bytes = ByteText.bytes(base64URL: text.dropFirst(prefix.count)),
            bytes.count > MessageAuthenticator.length
        else { return nil }
        let split = bytes.count - MessageAuthenticator.length
        let genuine = bytes.withUnsafeBytes { raw in
            let expected = signer.code(UnsafeRawBufferPointer(rebasing: raw[..<split]))
            return expected.withUnsafeBytes {
                equalInConstantTime($0, UnsafeRawBufferPointer(rebasing: raw[split...]))
            }
        }
        guard genuine else { return nil }
        var reader = ByteReader(bytes[..<split])
        guard reader.byte() == format, let roles = reader.byte(), let expiry = reader.bigEndian(),
            let generation = reader.bigEndian(), let account = reader.lengthPrefixed(),
            let user = reader.lengthPrefixed(), let count = reader.byte()
        else { return nil }
        var groups = [[UInt8]]()
        for _ in 0..<count {
            guard let group = reader.lengthPrefixed() else { return nil }
            groups.append(group)
        }
        return SignedToken(
            account: account, user: user, roles: UserRoles(rawValue: roles), groups: groups, expiry: expiry,
            generation: generation)
    }

    /// What the token says about its holder.
    package var identity: Identity {
        .user(account: account, name: user, roles: roles, groups: groups)
    }
}

extension Identity {
    /// A v1 user, with the groups tempauth gives: account, `account:user`, further groups, `AUTH_account` for admins.
    package static func user(account: [UInt8], name: [UInt8], roles: UserRoles, groups: [[UInt8]] = []) -> Identity {
        let qualified = account + [UInt8(ascii: ":")] + name
        let storage = StorageAccount.name(of: account)
        return Identity(
            user: qualified,
            ownedAccounts: roles.contains(.admin) ? [storage] : [],
            groups: [account, qualified] + groups + (roles.contains(.admin) ? [storage] : []),
            memberships: [Membership(project: account, user: name)],
            isResellerAdmin: roles.contains(.resellerAdmin),
            isService: roles.contains(.service))
    }
}

/// How accounts of people map to accounts of the store.
package enum StorageAccount {
    /// OpenStack Swift's reseller prefix.
    package static let resellerPrefix = Array("AUTH_".utf8)

    /// `AUTH_` and the account.
    package static func name(of account: some Collection<UInt8>) -> [UInt8] {
        resellerPrefix + account
    }
}

/// What a v1 user may do beyond what ACLs grant.
package struct UserRoles: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Owns the account.
    package static let admin = UserRoles(rawValue: 1)
    /// Owns every account.
    package static let resellerAdmin = UserRoles(rawValue: 2)
    /// May stand behind another caller.
    package static let service = UserRoles(rawValue: 4)

    /// The roles with their tempauth names.
    static let named: [(role: UserRoles, name: String)] = [
        (.admin, ".admin"), (.resellerAdmin, ".reseller_admin"), (.service, ".service"),
    ]

    /// The role of this tempauth name, such as `.admin`.
    package init?(name: String) {
        guard let found = Self.named.first(where: { $0.name == name }) else { return nil }
        self = found.role
    }

    /// The tempauth names of these roles.
    package var names: [String] {
        Self.named.filter { contains($0.role) }.map(\.name)
    }
}

extension [UInt8] {
    mutating func append(bigEndian value: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
        }
    }

    /// Two bytes of length, then the bytes.
    fileprivate mutating func append(lengthPrefixed bytes: [UInt8]) {
        let length = UInt16(clamping: bytes.count)
        append(UInt8(length >> 8))
        append(UInt8(length & 255))
        append(contentsOf: bytes.prefix(Int(length)))
    }
}

/// Reads fields from the front of a slice; nil once it is exhausted.
private struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    mutating func byte() -> UInt8? {
        rest.popFirst()
    }

    mutating func bigEndian() -> UInt64? {
        guard rest.count >= 8 else { return nil }
        defer { rest = rest.dropFirst(8) }
        return rest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func lengthPrefixed() -> [UInt8]? {
        guard let high = byte(), let low = byte() else { return nil }
        let length = Int(high) << 8 | Int(low)
        guard rest.count >= length else { return nil }
        defer { rest = rest.dropFirst(length) }
        return Array(rest.prefix(length))
    }
}
