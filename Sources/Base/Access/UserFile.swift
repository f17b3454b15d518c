/// The v1 users: a small text file that the command line edits and every proxy reads.
///
///     ringfort-users 1
///     test:tester .admin 1f0c... 1700000000 1700000000 <sealed key>
///
/// Fields are separated by blanks: name, roles (comma separated, `-` for none), generation (16 hex digits), times of
/// creation and of the last change (seconds since the epoch), key sealed with AES-256-GCM under a key derived from the
/// cluster key. The fields before the sealed key are its associated data: nobody gains roles by editing it.
/// See `Documentation/formats/users.md`.
package struct UserFile: Sendable {
    /// One user.
    package struct User: Sendable, Equatable {
        package var account: [UInt8]
        package var name: [UInt8]
        package var roles: UserRoles
        /// Seconds since the epoch.
        package var created: UInt64
        package var changed: UInt64
        /// Drawn anew with every change of key or roles; tokens of older generations are void.
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
            case .tooManyUsers: "there are \(UserFile.maximumUsers) users at most"
            case .tooLarge: "the users file is too large"
            case .badName: "not a name for a user"
            case .badKey: "not a key: 1 to \(UserFile.maximumKeyLength) printable characters"
            case .userExists: "there is such a user"
            case .noSuchUser: "there is no such user"
            case .cryptography(let error): "\(error)"
            }
        }
    }

    package static let maximumUsers = 100_000
    package static let maximumFileSize = 64 << 20
    package static let maximumNameLength = 128
    package static let maximumKeyLength = 256
    private static let magic = "ringfort-users "
    private static let version = 1
    private static let heading = Array("\(magic)\(version)".utf8)

    private let box: SealedBox
    /// By qualified name.
    private var users: [[UInt8]: User] = [:]

    /// No users yet.
    package init(clusterKey: ClusterKey) {
        box = SealedBox(key: clusterKey.derive("users file"))
    }

    /// The users that `text` lists.
    package init(parsing text: [UInt8], clusterKey: ClusterKey) throws(Failure) {
        self.init(clusterKey: clusterKey)
        guard text.count <= Self.maximumFileSize else { throw .tooLarge }
        let lines = text.split(separator: UInt8(ascii: "\n"))
        guard let first = lines.first.map({ String(decoding: $0, as: UTF8.self) }), first.hasPrefix(Self.magic),
            let version = Int(first.dropFirst(Self.magic.count))
        else { throw .notAUserFile }
        guard version == Self.version else { throw .unknownVersion(version) }
        guard lines.count - 1 <= Self.maximumUsers else { throw .tooManyUsers }
        for (index, line) in lines.enumerated().dropFirst() {
            let user = try parse(line, number: index + 1)
            guard users.updateValue(user, forKey: user.qualifiedName) == nil else { throw .damagedLine(index + 1) }
        }
    }

    /// All users by name.
    package var list: [User] {
        users.values.sorted { $0.qualifiedName.lexicographicallyPrecedes($1.qualifiedName) }
    }

    /// The user of this `account:name`.
    package subscript(qualifiedName: [UInt8]) -> User? {
        users[qualifiedName]
    }

    // MARK: Changing

    /// Adds a user whose name is not taken.
    /// - Parameter now: seconds since the epoch.
    package mutating func add(
        account: [UInt8], name: [UInt8], key: [UInt8], roles: UserRoles, now: UInt64
    ) throws(Failure) {
        guard Self.isName(account), Self.isName(name) else { throw .badName }
        guard Self.isKey(key) else { throw .badKey }
        let user = User(
            account: account, name: name, roles: roles, created: now, changed: now, generation: try Self.generation(),
            key: key)
        guard users[user.qualifiedName] == nil else { throw .userExists }
        guard users.count < Self.maximumUsers else { throw .tooManyUsers }
        users[user.qualifiedName] = user
    }

    package mutating func remove(account: [UInt8], name: [UInt8]) throws(Failure) {
        guard users.removeValue(forKey: account + [UInt8(ascii: ":")] + name) != nil else { throw .noSuchUser }
    }

    /// Replaces the key, which voids the user's tokens.
    package mutating func setKey(account: [UInt8], name: [UInt8], key: [UInt8], now: UInt64) throws(Failure) {
        guard Self.isKey(key) else { throw .badKey }
        try change(account: account, name: name, now: now) { $0.key = key }
    }

    /// Replaces the roles, which voids the user's tokens.
    package mutating func setRoles(account: [UInt8], name: [UInt8], roles: UserRoles, now: UInt64) throws(Failure) {
        try change(account: account, name: name, now: now) { $0.roles = roles }
    }

    private mutating func change(
        account: [UInt8], name: [UInt8], now: UInt64, _ edit: (inout User) -> Void
    ) throws(Failure) {
        let qualifiedName = account + [UInt8(ascii: ":")] + name
        guard var user = users[qualifiedName] else { throw .noSuchUser }
        edit(&user)
        user.changed = now
        user.generation = try Self.generation()
        users[qualifiedName] = user
    }

    // MARK: Asking

    /// The user of `account:name` when `key` is right. An unknown name costs the same comparison.
    package func authenticate(qualifiedName: [UInt8], key: [UInt8]) -> User? {
        let user = users[qualifiedName]
        let expected = MessageAuthenticator(key: Self.comparisonKey).code(user?.key ?? Self.comparisonKey)
        let given = MessageAuthenticator(key: Self.comparisonKey).code(key)
        let isEqual = expected.withUnsafeBytes { left in given.withUnsafeBytes { equalInConstantTime(left, $0) } }
        return isEqual ? user : nil
    }

    /// Keys are compared by their digests, so that their lengths do not show either.
    private static let comparisonKey = Array("ringfort key comparison".utf8)

    // MARK: Text

    /// The file's content.
    package func serialized() throws(Failure) -> [UInt8] {
        var text = Self.heading + [UInt8(ascii: "\n")]
        for user in list {
            let fields = Self.fields(user)
            let sealed: [UInt8]
            do { sealed = try box.seal(user.key, context: fields) } catch { throw .cryptography(error) }
            text += fields + [UInt8(ascii: " ")] + ByteText.base64URL(sealed) + [UInt8(ascii: "\n")]
        }
        return text
    }

    private static func fields(_ user: User) -> [UInt8] {
        let roles = user.roles.names.isEmpty ? "-" : user.roles.names.joined(separator: ",")
        let digits = String(user.generation, radix: 16)
        let generation = String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return user.qualifiedName + Array(" \(roles) \(generation) \(user.created) \(user.changed)".utf8)
    }

    private func parse(_ line: ArraySlice<UInt8>, number: Int) throws(Failure) -> User {
        let fields = line.split(separator: UInt8(ascii: " "))
        guard fields.count == 6 else { throw .damagedLine(number) }
        let names = fields[0].split(separator: UInt8(ascii: ":")).map { Array($0) }
        guard names.count == 2, names.allSatisfy(Self.isName), let roles = Self.roles(fields[1]),
            let generation = UInt64(String(decoding: fields[2], as: UTF8.self), radix: 16),
            let created = UInt64(String(decoding: fields[3], as: UTF8.self)),
            let changed = UInt64(String(decoding: fields[4], as: UTF8.self)),
            let sealed = ByteText.bytes(base64URL: fields[5])
        else { throw .damagedLine(number) }
        var user = User(
            account: names[0], name: names[1], roles: roles, created: created, changed: changed,
            generation: generation, key: [])
        do { user.key = try box.open(sealed, context: Self.fields(user)) } catch {
            throw .wrongClusterKey(line: number)
        }
        return user
    }

    private static func roles(_ text: ArraySlice<UInt8>) -> UserRoles? {
        if text.elementsEqual([UInt8(ascii: "-")]) { return [] }
        var roles: UserRoles = []
        for name in text.split(separator: UInt8(ascii: ",")) {
            guard let role = UserRoles(name: String(decoding: name, as: UTF8.self)) else { return nil }
            roles.insert(role)
        }
        return roles
    }

    /// Names stand in ACLs and URLs: no blanks, controls, colons, commas, slashes or percent signs, no leading period.
    private static func isName(_ name: [UInt8]) -> Bool {
        (1...maximumNameLength).contains(name.count) && String(validating: name, as: UTF8.self) != nil
            && name[0] != UInt8(ascii: ".")
            && name.allSatisfy { $0 > 32 && $0 != 127 && !":,/%".utf8.contains($0) }
    }

    private static func isKey(_ key: [UInt8]) -> Bool {
        (1...maximumKeyLength).contains(key.count) && key.allSatisfy { $0 >= 32 && $0 != 127 }
    }

    private static func generation() throws(Failure) -> UInt64 {
        do { return try RandomBytes.makeUInt64() } catch { throw .cryptography(error) }
    }
}
