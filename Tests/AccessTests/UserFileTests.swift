import Testing

@testable import Access

@Suite struct UserFileTests {
    private let clusterKey = ClusterKey(secret: Array("cluster".utf8))
    private let test = Array("test".utf8)
    private let tester = Array("tester".utf8)
    private let name = Array("test:tester".utf8)

    private func file() throws -> UserFile {
        var users = UserFile(clusterKey: clusterKey)
        try users.add(account: test, name: tester, key: Array("testing".utf8), roles: .admin, now: 100)
        try users.add(
            account: test, name: Array("svc".utf8), key: Array("k k".utf8), roles: [.resellerAdmin, .service],
            now: 100)
        return users
    }

    @Test func survivesItsText() throws {
        let users = try file()
        let text = users.serialized()
        #expect(text.starts(with: Array("ringfort-users 2\n".utf8)))
        #expect(!String(decoding: text, as: UTF8.self).contains("testing"))
        #expect(try UserFile(parsing: text, clusterKey: clusterKey).list == users.list)
        // What is sealed once stays as it is.
        #expect(try UserFile(parsing: text, clusterKey: clusterKey).serialized() == text)
    }

    /// Lines that were opened before are not opened again, and others are.
    @Test func whatIsKnownIsReadQuicker() throws {
        let before = try file()
        var users = before
        try users.setKey(account: test, name: tester, key: Array("other".utf8), now: 200)
        try users.add(account: test, name: Array("a".utf8), key: [65], roles: [], now: 200)
        try users.remove(account: test, name: Array("svc".utf8), now: 200)
        let text = users.serialized()
        for known in [before, users, UserFile(clusterKey: clusterKey)] {
            let read = try UserFile(parsing: text, clusterKey: clusterKey, knowing: known)
            #expect(read.list == users.list)
            #expect(read.digests == users.digests)
            #expect(read.serialized() == text)
        }
        let forged = String(decoding: text, as: UTF8.self).replacing("test:tester .admin ", with: "test:tester - ")
        #expect(throws: UserFile.Failure.self) {
            try UserFile(parsing: Array(forged.utf8), clusterKey: clusterKey, knowing: users)
        }
    }

    /// Written by version 1, which had seconds; later versions must read it.
    @Test func readsTheGoldenFile() throws {
        let golden = """
            ringfort-users 1
            test:tester .admin,.service e3d62ef9c9cfc339 1700000000 1700000000 \
            gebkMtmldtYEvp4DRvQTR139G0bmvG-BSstjNN8dsc1idKs

            """
        let users = try UserFile(parsing: Array(golden.utf8), clusterKey: clusterKey)
        #expect(
            users.list == [
                UserFile.User(
                    account: test, name: tester, roles: [.admin, .service], created: 170_000_000_000_000,
                    changed: 170_000_000_000_000, generation: 0xE3D6_2EF9_C9CF_C339, key: Array("testing".utf8))
            ])
        // Nodes that read it each for themselves know the same.
        let again = try UserFile(parsing: Array(golden.utf8), clusterKey: clusterKey)
        #expect(again.digests == users.digests)
        #expect(try UserFile(parsing: users.serialized(), clusterKey: clusterKey).list == users.list)
    }

    /// Written by version 2, and sealed by another implementation of the format.
    @Test func readsTheGoldenFileOfVersion2() throws {
        let golden = """
            ringfort-users 2
            test:gone removed 90be12f5a1c3d4e5 170000000000000 170000100000000 \
            AAECAwQFBgcICQoLPvG-Wep4-IbGj22l8l5eYQ
            test:tester .admin 1f0c93a7b5d2e460 170000000000000 170000000012345 \
            DA0ODxAREhMUFRYX6niHkE600C9fB_Pm5k8XXcgBEUMDCWY

            """
        let users = try UserFile(parsing: Array(golden.utf8), clusterKey: clusterKey)
        #expect(users.list.map(\.key) == [Array("testing".utf8)])
        #expect(users.list.map(\.changed) == [170_000_000_012_345])
        #expect(users[Array("test:gone".utf8)] == nil)
        #expect(users.serialized() == Array(golden.utf8))
    }

    @Test func authenticates() throws {
        let users = try file()
        #expect(users.authenticate(qualifiedName: name, key: Array("testing".utf8))?.name == tester)
        #expect(users.authenticate(qualifiedName: name, key: Array("testin".utf8)) == nil)
        #expect(users.authenticate(qualifiedName: Array("test:no".utf8), key: Array("testing".utf8)) == nil)
        // Not even with the stand-in that unknown names are compared with.
        #expect(
            users.authenticate(qualifiedName: Array("a:b".utf8), key: Array("ringfort key comparison".utf8)) == nil)
    }

    @Test func changesDrawNewGenerations() throws {
        var users = try file()
        let first = users[name]?.generation
        try users.setKey(account: test, name: tester, key: Array("new".utf8), now: 200)
        let second = users[name]?.generation
        try users.setRoles(account: test, name: tester, roles: [], now: 300)
        let third = users[name]?.generation
        #expect(Set([first, second, third]).count == 3)
        #expect(users[name]?.created == 100)
        #expect(users[name]?.changed == 300)
        #expect(users[name]?.identity.ownedAccounts == [])
        try users.remove(account: test, name: tester, now: 400)
        #expect(users[name] == nil)
        #expect(throws: UserFile.Failure.noSuchUser) { try users.remove(account: test, name: tester, now: 500) }
    }

    @Test func removedUsersAreRememberedAndReplaced() throws {
        var users = try file()
        try users.remove(account: test, name: tester, now: 200)
        let text = users.serialized()
        #expect(String(decoding: text, as: UTF8.self).contains("\ntest:tester removed "))
        var read = try UserFile(parsing: text, clusterKey: clusterKey)
        #expect(read.list.map(\.name) == [Array("svc".utf8)])
        #expect(!read.isEmpty)
        #expect(read.authenticate(qualifiedName: name, key: []) == nil)
        #expect(throws: UserFile.Failure.noSuchUser) {
            try read.setKey(account: test, name: tester, key: [65], now: 300)
        }
        // By a clock that is behind, and still above the removal.
        try read.add(account: test, name: tester, key: Array("new".utf8), roles: [], now: 150)
        #expect(read[name]?.changed == 201)
        #expect(try UserFile(parsing: read.serialized(), clusterKey: clusterKey).list == read.list)
    }

    @Test func changesNeverGoBackInTime() throws {
        var users = try file()
        for _ in 0..<3 { try users.setKey(account: test, name: tester, key: [65], now: 7) }
        #expect(users[name]?.changed == 103)
        try users.setKey(account: test, name: tester, key: [65], now: .max)
        try users.setKey(account: test, name: tester, key: [66], now: .max)
        #expect(users[name]?.changed == UserFile.maximumTime)
        #expect(try UserFile(parsing: users.serialized(), clusterKey: clusterKey).list == users.list)
    }

    @Test(arguments: ["", "a:b", "a b", "a/b", ".admin", "a,b", "a%b", "a\n", String(repeating: "x", count: 129)])
    func refusesNames(_ bad: String) throws {
        var users = try file()
        #expect(throws: UserFile.Failure.badName) {
            try users.add(account: Array(bad.utf8), name: tester, key: [65], roles: [], now: 1)
        }
        #expect(throws: UserFile.Failure.badName) {
            try users.add(account: test, name: Array(bad.utf8), key: [65], roles: [], now: 1)
        }
    }

    @Test func refusesKeysAndDuplicates() throws {
        var users = try file()
        #expect(throws: UserFile.Failure.badKey) {
            try users.setKey(account: test, name: tester, key: [], now: 1)
        }
        #expect(throws: UserFile.Failure.userExists) {
            try users.add(account: test, name: tester, key: [65], roles: [], now: 1)
        }
    }

    @Test func refusesWhatIsNotOurs() throws {
        let text = try file().serialized()
        for bytes in ["", "ringfort-users\n", "ringfort-users x\n", "ringfort-users \n", "users 1\n"] {
            #expect(throws: UserFile.Failure.notAUserFile) {
                try UserFile(parsing: Array(bytes.utf8), clusterKey: clusterKey)
            }
        }
        let newer = UserFile.Failure.unknownVersion(3)
        #expect(throws: newer) { try UserFile(parsing: Array("ringfort-users 3\n".utf8), clusterKey: clusterKey) }
        #expect(
            newer.description
                == "the users file has format 3, and this program knows 2: a newer ringfort wrote it. Start that one")
        #expect(throws: UserFile.Failure.damagedLine(2)) {
            try UserFile(parsing: Array("ringfort-users 1\na:b x\n".utf8), clusterKey: clusterKey)
        }
        #expect(throws: UserFile.Failure.wrongClusterKey(line: 2)) {
            try UserFile(parsing: text, clusterKey: ClusterKey(secret: [0]))
        }
    }

    /// Roles are associated data of the sealed key: an edited line no longer opens.
    @Test func rolesCannotBeEditedIn() throws {
        let text = String(decoding: try file().serialized(), as: UTF8.self)
        let forged = text.replacing("test:tester .admin ", with: "test:tester .reseller_admin ")
        #expect(forged != text)
        #expect(throws: UserFile.Failure.self) {
            try UserFile(parsing: Array(forged.utf8), clusterKey: clusterKey)
        }
    }

    /// And so is that a user was removed.
    @Test func removalsCannotBeEditedIn() throws {
        let text = String(decoding: try file().serialized(), as: UTF8.self)
        let forged = text.replacing("test:tester .admin ", with: "test:tester removed ")
        #expect(forged != text)
        #expect(throws: UserFile.Failure.self) { try UserFile(parsing: Array(forged.utf8), clusterKey: clusterKey) }
    }
}
