import Testing

@testable import Access

@Suite struct AuthorizationTests {
    private let owner = Identity.user(account: Array("test".utf8), name: Array("tester".utf8), roles: .admin)
    private let member = Identity.user(account: Array("test".utf8), name: Array("member".utf8), roles: [])
    private let stranger = Identity.user(account: Array("other".utf8), name: Array("u".utf8), roles: .admin)
    private let reseller = Identity.user(account: Array("a".utf8), name: Array("r".utf8), roles: .resellerAdmin)

    private func decide(
        _ action: Authorization.Action, _ target: Authorization.Target, _ identity: Identity?, read: String? = nil,
        write: String? = nil, account: String? = nil, manages: Bool = false, path: String = "AUTH_test"
    ) throws -> Authorization {
        Authorization.decide(
            .init(action: action, target: target, managesAccount: manages, account: Array(path.utf8)),
            identity: identity,
            containerRead: try read.map { try ContainerACL(parsing: Array($0.utf8), for: .read) },
            containerWrite: try write.map { try ContainerACL(parsing: Array($0.utf8), for: .write) },
            accountACL: try account.map { try AccountACL(parsing: Array($0.utf8)) })
    }

    @Test func ownersAndResellers() throws {
        for target in [Authorization.Target.account, .container, .object] {
            #expect(try decide(.write, target, owner) == .allow(owner: true))
            #expect(try decide(.write, target, reseller) == .allow(owner: true))
            #expect(try decide(.read, target, member) == .forbidden)
            #expect(try decide(.read, target, stranger) == .forbidden)
            #expect(try decide(.read, target, nil) == .unauthenticated)
            #expect(try decide(.options, target, nil) == .allow(owner: false))
        }
    }

    @Test func ownersDoNotManageTheirAccount() throws {
        #expect(try decide(.write, .account, owner, manages: true) == .forbidden)
        #expect(try decide(.write, .account, reseller, manages: true) == .allow(owner: true))
        // Neither does an admin by the account's ACL.
        let admin = #"{"admin":["other:u"]}"#
        #expect(try decide(.write, .account, stranger, account: admin, manages: true) == .forbidden)
        #expect(try decide(.write, .account, nil, account: admin, manages: true) == .unauthenticated)
    }

    @Test func foreignPrefixesAreRefused() throws {
        #expect(try decide(.read, .account, reseller, path: "KEY_test") == .forbidden)
        #expect(try decide(.read, .account, nil, path: ".expiring_objects") == .unauthenticated)
    }

    @Test func containerLists() throws {
        #expect(try decide(.read, .object, stranger, read: "other:u") == .allow(owner: false))
        #expect(try decide(.read, .container, stranger, read: "other:u") == .allow(owner: false))
        #expect(try decide(.write, .object, stranger, read: "other:u") == .forbidden)
        #expect(try decide(.write, .object, stranger, write: "other") == .allow(owner: false))
        #expect(try decide(.write, .container, stranger, write: "other") == .forbidden)
        #expect(try decide(.read, .object, stranger, write: "other") == .forbidden)
        #expect(try decide(.read, .object, nil, read: ".r:*") == .allow(owner: false))
        #expect(try decide(.read, .container, nil, read: ".r:*") == .unauthenticated)
        #expect(try decide(.read, .container, nil, read: ".r:*,.rlistings") == .allow(owner: false))
    }

    @Test func accountLists() throws {
        let admin = #"{"admin":["other:u"]}"#
        let writer = #"{"read-write":["other"]}"#
        let reader = #"{"read-only":["other"]}"#
        #expect(try decide(.write, .account, stranger, account: admin) == .allow(owner: true))
        #expect(try decide(.write, .container, stranger, account: writer) == .allow(owner: false))
        #expect(try decide(.write, .account, stranger, account: writer) == .forbidden)
        #expect(try decide(.read, .account, stranger, account: writer) == .allow(owner: false))
        #expect(try decide(.read, .object, stranger, account: reader) == .allow(owner: false))
        #expect(try decide(.write, .object, stranger, account: reader) == .forbidden)
    }

    @Test func ownerHeaders() {
        #expect(OwnerHeaders.contains(Array("X-Container-Read".utf8)))
        #expect(OwnerHeaders.contains(Array("x-account-meta-TEMP-url-key-2".utf8)))
        #expect(!OwnerHeaders.contains(Array("X-Container-Meta-Color".utf8)))
        #expect(!OwnerHeaders.contains(Array("X-Container-Rea".utf8)))
    }
}
