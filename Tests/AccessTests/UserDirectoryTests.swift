import Glibc
import Testing

@testable import Access

@Suite struct UserDirectoryTests {
    private let clusterKey = ClusterKey(secret: Array("cluster".utf8))
    private let test = Array("test".utf8)
    private let tester = Array("tester".utf8)
    private let name = Array("test:tester".utf8)
    private let key = Array("testing".utf8)

    /// Runs `body` with a users file that has one admin, in a directory of its own.
    private func withStore(_ body: (UserStore) throws -> Void) throws {
        var template = Array("/tmp/ringfort-users-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        let directory = String(cString: try #require(made))
        let store = UserStore(path: directory + "/users", clusterKey: clusterKey)
        defer {
            for suffix in ["", ".lock", ".new"] { unlink(store.path + suffix) }
            rmdir(directory)
        }
        try store.edit { users throws(UserFile.Failure) in
            try users.add(account: test, name: tester, key: key, roles: .admin, now: 1)
        }
        try body(store)
    }

    @Test func issuesTokensThatVerify() throws {
        try withStore { store in
            let users = try UserDirectory(store: store, clusterKey: clusterKey, now: 10)
            let token = try #require(users.authenticate(qualifiedName: name, key: key, now: 10))
            #expect(token.lifetime == 86_400)
            #expect(token.storageAccount == Array("AUTH_test".utf8))
            for _ in 0..<2 {  // The second answer comes from the cache.
                #expect(users.verify(token.text, now: 10) == token.identity)
                #expect(users.verify(token.text, now: 10 + 86_399) == token.identity)
                #expect(users.verify(token.text, now: 10 + 86_400) == nil)
            }
            #expect(users.authenticate(qualifiedName: name, key: [1], now: 10) == nil)
            #expect(users.verify(Array("AUTH_tkx".utf8), now: 10) == nil)
            #expect(users.verify([], now: 10) == nil)
            #expect(users.secret(qualifiedName: name, now: 10)?.key == key)
            // Another server with the same cluster key takes the token too.
            let other = try UserDirectory(store: store, clusterKey: clusterKey, now: 10)
            #expect(other.verify(token.text, now: 11) == token.identity)
        }
    }

    @Test func editsVoidTokens() throws {
        try withStore { store in
            let users = try UserDirectory(store: store, clusterKey: clusterKey, now: 10)
            let token = try #require(users.authenticate(qualifiedName: name, key: key, now: 10))
            #expect(users.verify(token.text, now: 10) != nil)
            try store.edit { file throws(UserFile.Failure) in
                try file.setKey(account: test, name: tester, key: Array("other".utf8), now: 11)
            }
            // Within the same second the file is not looked at.
            #expect(users.verify(token.text, now: 10) != nil)
            #expect(users.verify(token.text, now: 11) == nil)
            #expect(users.authenticate(qualifiedName: name, key: key, now: 11) == nil)
            let fresh = try #require(users.authenticate(qualifiedName: name, key: Array("other".utf8), now: 11))
            try store.edit { file throws(UserFile.Failure) in try file.remove(account: test, name: tester, now: 12) }
            #expect(users.verify(fresh.text, now: 12) == nil)
        }
    }

    /// Within the second in which the file has been looked at.
    @Test func usersThatAreHandedOverCountAtOnce() throws {
        try withStore { store in
            let users = try UserDirectory(store: store, clusterKey: clusterKey, now: 10)
            let token = try #require(users.authenticate(qualifiedName: name, key: key, now: 10))
            #expect(users.verify(token.text, now: 10) != nil)
            let file = try store.edit { file throws(UserFile.Failure) in
                try file.remove(account: test, name: tester, now: 11)
                return file
            }
            users.use(file, version: try store.version())
            #expect(users.verify(token.text, now: 10) == nil)
            #expect(users.authenticate(qualifiedName: name, key: key, now: 10) == nil)
            #expect(users.verify(token.text, now: 11) == nil)
        }
    }

    @Test func damagedFileLeavesUsersInForce() throws {
        try withStore { store in
            let users = try UserDirectory(store: store, clusterKey: clusterKey, now: 10)
            let file = try #require(fopen(store.path, "w"))
            fputs("garbage", file)
            fclose(file)
            #expect(users.authenticate(qualifiedName: name, key: key, now: 11) != nil)
            #expect(users.reloadFailure == .content(.notAUserFile))
            #expect(throws: UserStore.Failure.content(.notAUserFile)) {
                try store.edit { users throws(UserFile.Failure) in
                    try users.remove(account: test, name: tester, now: 11)
                }
            }
        }
    }

    @Test func absentFileHasNoUsers() throws {
        let store = UserStore(path: "/nonexistent-ringfort/users", clusterKey: clusterKey)
        let users = try UserDirectory(store: store, clusterKey: clusterKey, now: 1)
        #expect(users.authenticate(qualifiedName: name, key: key, now: 1) == nil)
        #expect(throws: UserStore.Failure.system(step: "open", code: ENOENT)) {
            try store.edit { _ throws(UserFile.Failure) in }
        }
    }

    @Test func fileIsPrivate() throws {
        try withStore { store in
            var status = stat()
            #expect(stat(store.path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
        }
    }
}
