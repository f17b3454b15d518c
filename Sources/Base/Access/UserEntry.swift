/// What is known of one name: a user, or that the user was removed. One line of the users file.
///
/// Fields are separated by blanks: name, roles (comma separated, `-` for none, `removed`), generation (16 hex digits), times of creation and of
/// the last change, key sealed with AES-256-GCM under a key derived from the cluster key. The fields before the sealed key are its associated
/// data: nobody gains roles by editing them, or removes a user.
struct UserEntry: Sendable {
    /// Without key and roles when removed.
    let user: UserFile.User
    let isRemoved: Bool
    /// As in the file, without the end of the line. Kept as it came: what nodes tell each other is sealed once.
    let line: [UInt8]
    /// Of the fields before the key: a key that is sealed again is the same key.
    let digest: UInt64

    private static let removed = Array("removed".utf8)
    private static let digester = MessageAuthenticator(key: Array("ringfort users digest".utf8))

    /// Seals a user's key.
    init(_ user: UserFile.User, isRemoved: Bool, box: SealedBox) throws(CryptographyError) {
        let fields = Self.fields(user, isRemoved: isRemoved)
        let sealed = try box.seal(user.key, context: fields)
        self.init(user, isRemoved: isRemoved, fields: fields, sealed: ByteText.base64URL(sealed))
    }

    private init(_ user: UserFile.User, isRemoved: Bool, fields: [UInt8], sealed: [UInt8]) {
        self.user = user
        self.isRemoved = isRemoved
        line = fields + [UInt8(ascii: " ")] + sealed
        digest = Self.digester.code(fields).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads a line.
    /// - Parameter number: of the line, for the error.
    init(parsing line: ArraySlice<UInt8>, number: Int, box: SealedBox) throws(UserFile.Failure) {
        let fields = line.split(separator: UInt8(ascii: " "))
        guard fields.count == 6 else { throw .damagedLine(number) }
        let names = fields[0].split(separator: UInt8(ascii: ":")).map { Array($0) }
        let isRemoved = fields[1].elementsEqual(Self.removed)
        guard names.count == 2, names.allSatisfy(UserFile.isName),
            let roles = isRemoved ? UserRoles() : Self.roles(fields[1]),
            let generation = UInt64(String(decoding: fields[2], as: UTF8.self), radix: 16),
            let created = Self.time(fields[3]), let changed = Self.time(fields[4]),
            let sealed = ByteText.bytes(base64URL: fields[5])
        else { throw .damagedLine(number) }
        let context = Array(line[..<fields[5].startIndex].dropLast())
        let key: [UInt8]
        do { key = try box.open(sealed, context: context) } catch { throw .wrongClusterKey(line: number) }
        guard isRemoved ? key.isEmpty : UserFile.isKey(key) else { throw .damagedLine(number) }
        let user = UserFile.User(
            account: names[0], name: names[1], roles: roles, created: created, changed: changed,
            generation: generation, key: key)
        self.init(user, isRemoved: isRemoved, fields: context, sealed: Array(fields[5]))
    }

    /// The entry of a line of version 1, which has seconds where there are ticks today.
    func inTicks(box: SealedBox) throws(CryptographyError) -> UserEntry {
        var user = user
        user.created = min(user.created, UserFile.maximumTime / UserFile.ticksPerSecond) * UserFile.ticksPerSecond
        user.changed = min(user.changed, UserFile.maximumTime / UserFile.ticksPerSecond) * UserFile.ticksPerSecond
        return try UserEntry(user, isRemoved: isRemoved, box: box)
    }

    /// Whether this counts and not `other`, which is of the same name. Of two changes at one time every node takes the same one.
    func isNewer(than other: UserEntry) -> Bool {
        (user.changed, user.generation, digest) > (other.user.changed, other.user.generation, other.digest)
    }

    private static func fields(_ user: UserFile.User, isRemoved: Bool) -> [UInt8] {
        let roles = user.roles.names.isEmpty ? "-" : user.roles.names.joined(separator: ",")
        let digits = String(user.generation, radix: 16)
        let generation = String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return user.qualifiedName + [UInt8(ascii: " ")] + (isRemoved ? removed : Array(roles.utf8))
            + Array(" \(generation) \(user.created) \(user.changed)".utf8)
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

    private static func time(_ text: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: text, as: UTF8.self)).flatMap { $0 <= UserFile.maximumTime ? $0 : nil }
    }
}
