/// Who is asking: what a verified token or signature says about the caller.
///
/// Names are UTF-8 bytes and compared as bytes. Two sources fill it: the v1 users file, and Keystone.
package struct Identity: Sendable, Hashable {
    /// A project and a user in it, for the `project:user` form of container ACLs. Keystone adds one entry for ids and
    /// one for names.
    package struct Membership: Sendable, Hashable {
        package var project: [UInt8]
        package var user: [UInt8]

        package init(project: [UInt8], user: [UInt8]) {
            self.project = project
            self.user = user
        }
    }

    /// The caller's unique name, `account:user` for v1 users; for logs and for ownership of S3 objects.
    package var user: [UInt8]
    /// Storage accounts (`AUTH_...`) that the caller owns.
    package var ownedAccounts: [[UInt8]]
    /// What an ACL may name: account, `account:user`, further groups, Keystone roles.
    package var groups: [[UInt8]]
    /// The pairs that `project:user`, `project:*` and `*:user` are compared with.
    package var memberships: [Membership]
    /// May act on every account of the cluster.
    package var isResellerAdmin: Bool
    /// May be the second party (`X-Service-Token`) of a composite request.
    package var isService: Bool

    package init(
        user: [UInt8], ownedAccounts: [[UInt8]], groups: [[UInt8]], memberships: [Membership],
        isResellerAdmin: Bool, isService: Bool
    ) {
        self.user = user
        self.ownedAccounts = ownedAccounts
        self.groups = groups
        self.memberships = memberships
        self.isResellerAdmin = isResellerAdmin
        self.isService = isService
    }
}

/// Turns the bytes of `X-Auth-Token` into an identity. Implementations are called on event loops and must not block.
package protocol TokenVerifier: Sendable {
    /// The owner of `token`, or nil when the token is unknown, forged, expired or withdrawn.
    /// - Parameter now: seconds since the epoch.
    func verify(_ token: UnsafeRawBufferPointer, now: UInt64) -> Identity?
}

extension TokenVerifier {
    /// `verify(_:now:)` for bytes that are not in raw memory yet.
    package func verify(_ token: some Collection<UInt8>, now: UInt64) -> Identity? {
        let verified = token.withContiguousStorageIfAvailable { verify(UnsafeRawBufferPointer($0), now: now) }
        return verified ?? Array(token).withUnsafeBytes { verify($0, now: now) }
    }
}
