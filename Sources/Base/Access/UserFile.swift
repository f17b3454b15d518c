/// The v1 users: a small text file that the command line edits and every proxy reads.
///
///     ringfort-users 2
///     test:tester .admin 1f0c... 170000000000000 170000000000000 <sealed key>
///     test:gone removed 90be... 170000000000000 170000100000000 <sealed nothing>
///
/// Each name is a register of its own: the newest line counts, whichever node it was written on, and a removed user leaves a line that says
/// so. See `Documentation/formats/users.md`.
package struct UserFile: Sendable {
    /// One user.
    package struct User: Sendable, Equatable {
        package var account: [UInt8]
        package var name: [UInt8]
        package var roles: UserRoles
        /// 10-microsecond ticks since 1970.
        package var created: UInt64
        /// The same; above the change before, whatever the clock says.
        package var changed: UInt64
        /// Drawn anew with every change; tokens of older generations are void.
        package var generation: UInt64
        /// The secret key: S3 signatures need it back.
        package var key: [UInt8]

        /// `account:name`
        package var qualifiedName: [UInt8] {
            account + [UInt8(ascii: ":")] + name
        }

        /// What requests of this user may do.
        package var identity: Identity {
            .user(account: account, name: name, roles: roles)
        }
    }

    /// Why a file or a change was refused.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case notAUserFile
        /// Of another version than this program knows.
        case unknownVersion(Int)
        case damagedLine(Int)
        /// A sealed key that this cluster key does not open, or that belongs to another line.
        case wrongClusterKey(line: Int)
        case tooManyUsers
        case tooLarge
        case badName
        case badKey
        case userExists
        case noSuchUser
        case cryptography(CryptographyError)

        package var description: String {
            switch self {
            case .notAUserFile: "not a users file"
            case .unknownVersion(let found):
                "the users file has format \(found), and this program knows \(UserFile.version): \(found > UserFile.version ? "a newer" : "an older") ringfort wrote it. Start that one"
            case .damagedLine(let line): "line \(line) is damaged"
            case .wrongClusterKey(let line): "the key in line \(line) belongs to another cluster or user"
            case .tooManyUsers: "there are \(UserFile.maximumUsers) users at most, and those that were removed count"
            case .tooLarge: "the users file is too large"
            case .badName: "not a name for a user"
            case .badKey: "not a key: 1 to \(UserFile.maximumKeyLength) printable characters"
            case .userExists: "there is such a user"
            case .noSuchUser: "there is no such user"
            case .cryptography(let error): "\(error)"
            }
        }
    }

    /// Names that may be added, removed ones included.
    package static let maximumUsers = 100_000
    /// Names that are read: two nodes may have added their last ones at the same moment, and both have to end with all of them.
    static let maximumEntries = 2 * maximumUsers
    package static let maximumFileSize = 64 << 20
    package static let maximumNameLength = 128
    package static let maximumKeyLength = 256
    /// Units of `User.created` and `changed` in a second.
    package static let ticksPerSecond: UInt64 = 100_000
    /// No time is above it, so that there is always a later one.
    static let maximumTime: UInt64 = 1 << 60

    let box: SealedBox
    /// By qualified name.
    private(set) var entries: [[UInt8]: UserEntry] = [:]
    /// A digest for each bucket of names: equal where two nodes know the same.
    package private(set) var digests = [UInt64](repeating: 0, count: UserFile.bucketCount)

    /// No users yet.
    package init(clusterKey: ClusterKey) {
        box = SealedBox(key: clusterKey.derive("users file"))
    }

    /// All users by name.
    package var list: [User] {
        entries.values.filter { !$0.isRemoved }.map(\.user)
            .sorted { $0.qualifiedName.lexicographicallyPrecedes($1.qualifiedName) }
    }

    /// Whether nobody is known, not even a user that was removed.
    package var isEmpty: Bool { entries.isEmpty }

    /// The user of this `account:name`.
    package subscript(qualifiedName: [UInt8]) -> User? {
        entries[qualifiedName].flatMap { $0.isRemoved ? nil : $0.user }
    }

    // MARK: Changing

    /// Adds a user whose name is not taken.
    /// - Parameter now: 10-microsecond ticks since 1970.
    package mutating func add(
        account: [UInt8], name: [UInt8], key: [UInt8], roles: UserRoles, now: UInt64
    ) throws(Failure) {
        guard Self.isName(account), Self.isName(name) else { throw .badName }
        guard Self.isKey(key) else { throw .badKey }
        var user = User(account: account, name: name, roles: roles, created: 0, changed: 0, generation: 0, key: key)
        let known = entries[user.qualifiedName]
        guard known?.isRemoved ?? true else { throw .userExists }
        guard known != nil || entries.count < Self.maximumUsers else { throw .tooManyUsers }
        user.created = Self.time(now, after: known)
        try write(user, isRemoved: false, now: now)
    }

    /// Removes a user. What stays says so to nodes that still have the user.
    /// - Parameter now: 10-microsecond ticks since 1970.
    package mutating func remove(account: [UInt8], name: [UInt8], now: UInt64) throws(Failure) {
        var user = try user(account, name)
        user.roles = []
        user.key = []
        try write(user, isRemoved: true, now: now)
    }

    /// Replaces the key, which voids the user's tokens.
    package mutating func setKey(account: [UInt8], name: [UInt8], key: [UInt8], now: UInt64) throws(Failure) {
        guard Self.isKey(key) else { throw .badKey }
        var user = try user(account, name)
        user.key = key
        try write(user, isRemoved: false, now: now)
    }

    /// Replaces the roles, which voids the user's tokens.
    package mutating func setRoles(account: [UInt8], name: [UInt8], roles: UserRoles, now: UInt64) throws(Failure) {
        var user = try user(account, name)
        user.roles = roles
        try write(user, isRemoved: false, now: now)
    }

    private func user(_ account: [UInt8], _ name: [UInt8]) throws(Failure) -> User {
        guard let user = self[account + [UInt8(ascii: ":")] + name] else { throw .noSuchUser }
        return user
    }

    /// Makes this the newest that is known of the name.
    private mutating func write(_ user: User, isRemoved: Bool, now: UInt64) throws(Failure) {
        var user = user
        user.changed = Self.time(now, after: entries[user.qualifiedName])
        user.generation = try Self.generation()
        let entry: UserEntry
        do { entry = try UserEntry(user, isRemoved: isRemoved, box: box) } catch { throw .cryptography(error) }
        put(entry)
    }

    /// Replaces what is known of a name.
    mutating func put(_ entry: UserEntry) {
        let name = entry.user.qualifiedName
        let bucket = Self.bucket(of: name)
        if let known = entries.updateValue(entry, forKey: name) { digests[bucket] ^= known.digest }
        digests[bucket] ^= entry.digest
    }

    /// A change is later than what it changes, also when it is made on a node whose clock is behind.
    private static func time(_ now: UInt64, after known: UserEntry?) -> UInt64 {
        min(max(now, (known?.user.changed ?? 0) + 1), maximumTime)
    }

    private static func generation() throws(Failure) -> UInt64 {
        do { return try RandomBytes.makeUInt64() } catch { throw .cryptography(error) }
    }

    // MARK: Asking

    /// The user of `account:name` when `key` is right. An unknown name costs the same comparison.
    package func authenticate(qualifiedName: [UInt8], key: [UInt8]) -> User? {
        let user = self[qualifiedName]
        let expected = MessageAuthenticator(key: Self.comparisonKey).code(user?.key ?? Self.comparisonKey)
        let given = MessageAuthenticator(key: Self.comparisonKey).code(key)
        let isEqual = expected.withUnsafeBytes { left in given.withUnsafeBytes { equalInConstantTime(left, $0) } }
        return isEqual ? user : nil
    }

    /// Keys are compared by their digests, so that their lengths do not show either.
    private static let comparisonKey = Array("ringfort key comparison".utf8)

    // MARK: Text

    private static let magic = "ringfort-users "
    private static let version = 2
    /// Seconds instead of ticks, and no removed users.
    private static let oldestVersion = 1

    /// The users that `text` lists.
    /// - Parameter known: users under the same key: a line that stands there as it is need not be opened, which is most of the work.
    package init(parsing text: [UInt8], clusterKey: ClusterKey, knowing known: UserFile? = nil) throws(Failure) {
        self.init(clusterKey: clusterKey)
        guard text.count <= Self.maximumFileSize else { throw .tooLarge }
        let lines = text.split(separator: UInt8(ascii: "\n"))
        guard let first = lines.first.map({ String(decoding: $0, as: UTF8.self) }), first.hasPrefix(Self.magic),
            let version = Int(first.dropFirst(Self.magic.count))
        else { throw .notAUserFile }
        guard (Self.oldestVersion...Self.version).contains(version) else { throw .unknownVersion(version) }
        guard lines.count - 1 <= Self.maximumEntries else { throw .tooManyUsers }
        for (index, line) in lines.enumerated().dropFirst() {
            let entry: UserEntry
            if let opened = known?.entry(of: line) {
                entry = opened
            } else {
                entry = try open(line, number: index + 1, version: version)
            }
            guard entries[entry.user.qualifiedName] == nil else { throw .damagedLine(index + 1) }
            put(entry)
        }
    }

    private func open(_ line: ArraySlice<UInt8>, number: Int, version: Int) throws(Failure) -> UserEntry {
        let entry = try UserEntry(parsing: line, number: number, box: box)
        guard version == Self.oldestVersion else { return entry }
        do { return try entry.inTicks(box: box) } catch { throw .cryptography(error) }
    }

    /// What is known of a name, if it is this line.
    private func entry(of line: ArraySlice<UInt8>) -> UserEntry? {
        let known = entries[Array(line.prefix { $0 != UInt8(ascii: " ") })]
        return known.flatMap { $0.line.elementsEqual(line) ? $0 : nil }
    }

    /// The file's content.
    package func serialized() -> [UInt8] {
        var text = Array("\(Self.magic)\(Self.version)\n".utf8)
        for name in entries.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            text += (entries[name]?.line ?? []) + [UInt8(ascii: "\n")]
        }
        return text
    }

    /// Names stand in ACLs and URLs: no blanks, controls, colons, commas, slashes or percent signs, no leading period.
    static func isName(_ name: [UInt8]) -> Bool {
        (1...maximumNameLength).contains(name.count) && String(validating: name, as: UTF8.self) != nil
            && name[0] != UInt8(ascii: ".")
            && name.allSatisfy { $0 > 32 && $0 != 127 && !":,/%".utf8.contains($0) }
    }

    static func isKey(_ key: [UInt8]) -> Bool {
        (1...maximumKeyLength).contains(key.count) && key.allSatisfy { $0 >= 32 && $0 != 127 }
    }
}
