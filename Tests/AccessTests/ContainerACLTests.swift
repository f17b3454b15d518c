import Testing

@testable import Access

@Suite struct ContainerACLTests {
    private func identity(_ account: String, _ user: String, admin: Bool = false) -> Identity {
        .user(account: Array(account.utf8), name: Array(user.utf8), roles: admin ? .admin : [])
    }

    private func clean(_ text: String, _ right: ContainerACL.Right = .read) throws(ContainerACL.ParseError) -> String {
        String(decoding: try ContainerACL(parsing: Array(text.utf8), for: right).text, as: UTF8.self)
    }

    @Test(arguments: [
        ("bob, sue", "bob,sue"),
        ("bob , sue", "bob,sue"),
        ("bob,,,sue", "bob,sue"),
        ("", ""),
        (" , ", ""),
        (".referrer : *", ".r:*"),
        (".referer:*", ".r:*"),
        (".ref:*.example.com", ".r:.example.com"),
        (".r:*, .rlistings", ".r:*,.rlistings"),
        (".r:-*.example.com", ".r:-.example.com"),
        (".r: - thief.com", ".r:-thief.com"),
        ("acct:user , *:*", "acct:user,*:*"),
        (": x", ": x"),
    ])
    func cleans(_ raw: String, _ cleaned: String) throws {
        #expect(try clean(raw) == cleaned)
    }

    @Test(arguments: [
        (".r:", ContainerACL.Right.read, "No host/domain value after referrer designation in ACL: '.r:'"),
        (".r:-", .read, "No host/domain value after referrer designation in ACL: '.r:-'"),
        (".r: .", .read, "No host/domain value after referrer designation in ACL: '.r: .'"),
        (".unknown:x", .read, "Unknown designator '.unknown' in ACL: '.unknown:x'"),
        (".r:*", .write, "Referrers not allowed in write ACL: '.r:*'"),
        (".x:it's", .read, "Unknown designator '.x' in ACL: \".x:it's\""),
    ])
    func refuses(_ raw: String, _ right: ContainerACL.Right, _ sentence: String) {
        #expect(throws: ContainerACL.ParseError(text: Array(sentence.utf8))) { try clean(raw, right) }
    }

    @Test(arguments: [
        ("test", "test", "tester", true),
        ("test:tester", "test", "tester", true),
        ("test:other", "test", "tester", false),
        ("test:*", "test", "tester", true),
        ("*:tester", "test", "tester", true),
        ("*:*", "test", "tester", true),
        ("*", "test", "tester", false),
        ("other", "test", "tester", false),
        ("te%73t", "test", "tester", true),
        ("AUTH_test", "test", "tester", false),
        ("", "test", "tester", false),
    ])
    func grants(_ list: String, _ account: String, _ user: String, _ allowed: Bool) throws {
        let acl = try ContainerACL(parsing: Array(list.utf8), for: .write)
        #expect(acl.allows(identity(account, user)) == allowed)
        #expect(!acl.allows(nil))
    }

    @Test(arguments: [
        (".r:*", "", true),
        (".r:*", "http://anything.com/", true),
        (".r:www.example.com", "http://www.example.com/page", true),
        (".r:www.example.com", "http://WWW.Example.com:8080/page", true),
        (".r:www.example.com", "http://user:pw@www.example.com", true),
        (".r:www.example.com", "http://example.com/www.example.com", false),
        (".r:.example.com", "http://a.b.example.com/", true),
        (".r:.example.com", "http://example.com/", false),
        (".r:.example.com", "", false),
        (".r:*,.r:-.thief.com", "http://www.thief.com/", false),
        (".r:-.thief.com,.r:*", "http://www.thief.com/", true),
        (".r:.example.com,.r:-thief.example.com", "http://thief.example.com", false),
        (".r:unknown", "no url", true),
        (".rlistings", "http://a/", false),
    ])
    func refers(_ list: String, _ referrer: String, _ allowed: Bool) throws {
        let acl = try ContainerACL(parsing: Array(list.utf8), for: .read)
        #expect(acl.allows(nil, referrer: Array(referrer.utf8), listing: false) == allowed)
        #expect(!acl.allows(nil, referrer: Array(referrer.utf8), listing: true))
    }

    @Test func listingNeedsItsOwnWord() throws {
        let acl = try ContainerACL(parsing: Array(".r:*,.rlistings".utf8), for: .read)
        #expect(acl.allows(nil, referrer: nil, listing: true))
        #expect(acl.allows(nil, referrer: nil, listing: false))
    }

    @Test func matchesRoles() throws {
        var caller = identity("p", "u")
        caller.groups.append(Array("reader".utf8))
        let acl = try ContainerACL(parsing: Array("reader".utf8), for: .read)
        #expect(acl.allows(caller, referrer: nil, listing: true))
    }

    @Test func damagedStoredListGrantsNothing() {
        let acl = ContainerACL(stored: Array(".bad:*,test".utf8), for: .read)
        #expect(!acl.allows(identity("test", "tester"), referrer: nil, listing: false))
    }
}
