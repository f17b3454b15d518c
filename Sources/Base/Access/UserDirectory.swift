import Synchronization

/// The v1 users as a running server sees them: authenticates, issues and verifies tokens, and notices edits of the
/// users file within a second. Safe to use from every event loop.
package final class UserDirectory: TokenVerifier {
    /// A token and until when it is good.
    package struct IssuedToken: Sendable {
        /// Text of `X-Auth-Token`.
        package let text: [UInt8]
        /// Seconds of life left.
        package let lifetime: UInt64
        package let identity: Identity
        /// `AUTH_account`, for `X-Storage-Url`.
        package let storageAccount: [UInt8]
    }

    /// Verified tokens that are remembered; a power of two.
    private static let cacheSlots = 2048

    private struct CachedToken {
        var text: [UInt8]
        var expiry: UInt64
        var identity: Identity
    }

    private struct State {
        var users: UserFile
        var version: UserStore.Version?
        /// Second of the last look at the file.
        var lastCheck: UInt64
        var lastFailure: UserStore.Failure?
        /// Direct-mapped by the end of the token, which is the end of a MAC and so evenly spread.
        var cache: [CachedToken?]

        mutating func use(_ users: UserFile, version: UserStore.Version?) {
            self.users = users
            self.version = version
            lastFailure = nil
            // Generations may have changed.
            cache = Array(repeating: nil, count: UserDirectory.cacheSlots)
        }
    }

    private let store: UserStore
    private let signer: MessageAuthenticator
    private let lifetime: UInt64
    private let state: Mutex<State>

    /// Reads the users file, which may be absent.
    /// - Parameters:
    ///   - tokenLifetime: how long tokens are good.
    ///   - now: seconds since the epoch.
    package init(
        store: UserStore, clusterKey: ClusterKey, tokenLifetime: Duration = SignedToken.defaultLifetime, now: UInt64
    ) throws(UserStore.Failure) {
        self.store = store
        signer = MessageAuthenticator(key: clusterKey.derive("v1 tokens"))
        lifetime = UInt64(clamping: max(1, tokenLifetime.components.seconds))
        let version = try store.version()
        state = Mutex(
            State(
                users: try store.load(), version: version, lastCheck: now, lastFailure: nil,
                cache: Array(repeating: nil, count: Self.cacheSlots)))
    }

    /// Why the last reload failed, while the users read before stay in force; nil when all is well.
    package var reloadFailure: UserStore.Failure? {
        state.withLock { $0.lastFailure }
    }

    /// Works with these users at once.
    /// - Parameter version: of the file that they were read from.
    package func use(_ users: UserFile, version: UserStore.Version?) {
        state.withLock { $0.use(users, version: version) }
    }

    /// A token for `account:name` when `key` is right.
    package func authenticate(qualifiedName: [UInt8], key: [UInt8], now: UInt64) -> IssuedToken? {
        let user = state.withLock { state in
            refresh(&state, now: now)
            return state.users.authenticate(qualifiedName: qualifiedName, key: key)
        }
        guard let user else { return nil }
        let token = SignedToken(
            account: user.account, user: user.name, roles: user.roles, groups: [], expiry: now + lifetime,
            generation: user.generation)
        return IssuedToken(
            text: token.encode(signer: signer), lifetime: lifetime, identity: user.identity,
            storageAccount: StorageAccount.name(of: user.account))
    }

    /// The secret key and identity of `account:name`, for request signatures (S3).
    package func secret(qualifiedName: [UInt8], now: UInt64) -> (key: [UInt8], identity: Identity)? {
        state.withLock { state in
            refresh(&state, now: now)
            return state.users[qualifiedName].map { ($0.key, $0.identity) }
        }
    }

    package func verify(_ token: UnsafeRawBufferPointer, now: UInt64) -> Identity? {
        guard (1...SignedToken.maximumLength).contains(token.count) else { return nil }
        let slot = Self.slot(token)
        let known: Identity?? = state.withLock { state in
            refresh(&state, now: now)
            guard let cached = state.cache[slot],
                cached.text.withUnsafeBytes({ equalInConstantTime($0, token) })
            else { return nil }
            return .some(now < cached.expiry ? cached.identity : nil)
        }
        if let known { return known }
        guard let decoded = SignedToken.decode(token, signer: signer), now < decoded.expiry else { return nil }
        return state.withLock { state in
            let qualifiedName = decoded.account + [UInt8(ascii: ":")] + decoded.user
            guard let user = state.users[qualifiedName], user.generation == decoded.generation else { return nil }
            let identity = decoded.identity
            state.cache[slot] = CachedToken(
                text: Array(token), expiry: decoded.expiry, identity: identity)
            return identity
        }
    }

    private static func slot(_ token: UnsafeRawBufferPointer) -> Int {
        // Three characters of base64url carry 18 bits, of which the last few may be fixed by padding.
        let hash = token.suffix(4).reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        return Int(hash ^ hash >> 15) & (cacheSlots - 1)
    }

    /// Looks at the file at most once a second. A file that cannot be read leaves the known users in force.
    private func refresh(_ state: inout State, now: UInt64) {
        guard now != state.lastCheck else { return }
        state.lastCheck = now
        do throws(UserStore.Failure) {
            let version = try store.version()
            guard version != state.version else { return }
            state.use(try store.load(knowing: state.users), version: version)
        } catch {
            state.lastFailure = error
        }
    }
}
