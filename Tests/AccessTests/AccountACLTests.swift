import Testing

@testable import Access

@Suite struct AccountACLTests {
    private func parse(_ text: String) throws(AccountACL.ParseError) -> AccountACL {
        try AccountACL(parsing: Array(text.utf8))
    }

    @Test(arguments: [
        ("", ""),
        ("{}", ""),
        (#" { "read-only" : [ "b" , "a" ] , "admin":["x:y"] } "#, #"{"admin":["x:y"],"read-only":["b","a"]}"#),
        (#"{"read-write":[]}"#, #"{"read-write":[]}"#),
        (#"{"admin":["é\"\\","\ud83d\ude00"]}"#, #"{"admin":["\u00e9\"\\","\ud83d\ude00"]}"#),
    ])
    func canonicalForm(_ raw: String, _ canonical: String) throws {
        #expect(String(decoding: try parse(raw).text, as: UTF8.self) == canonical)
    }

    @Test(arguments: [
        ("x", "Syntax error in input ('x')"),
        ("[]", "Syntax error in input ('[]')"),
        (#"{"admin":["a"]} x"#, #"Syntax error in input ('{"admin":["a"]} x')"#),
        (#"{"owner":[]}"#, #"Key "owner" not recognized"#),
        (#"{"admin":"a"}"#, #"Value for key "admin" must be a list"#),
        (#"{"admin":[1]}"#, #"Elements of "admin" list must be strings"#),
    ])
    func refuses(_ raw: String, _ reason: String) {
        let text = "X-Account-Access-Control invalid: \(reason)\n\nInput: \(raw)\n"
        #expect(throws: AccountACL.ParseError(text: Array(text.utf8))) { try parse(raw) }
    }

    @Test func refusesDeepAndLongInput() {
        #expect(throws: AccountACL.ParseError.self) {
            try parse(#"{"admin":"# + String(repeating: "[", count: 5000) + "}")
        }
        #expect(throws: AccountACL.ParseError.self) { try parse("{" + String(repeating: " ", count: 9000) + "}") }
    }

    @Test func strongestRightWins() throws {
        let acl = try parse(#"{"admin":["a:root"],"read-write":["a"],"read-only":["b:u"]}"#)
        func access(_ account: String, _ user: String) -> AccountACL.Access? {
            acl.access(of: .user(account: Array(account.utf8), name: Array(user.utf8), roles: []))
        }
        #expect(access("a", "root") == .admin)
        #expect(access("a", "x") == .readWrite)
        #expect(access("b", "u") == .readOnly)
        #expect(access("c", "u") == nil)
        #expect(acl.access(of: nil) == nil)
    }

    @Test(arguments: [
        "\"a", "\"\\u12\"", "\"\\ud800x\"", "{\"a\":1,}", "[1 2]", "tru", "01x", "", "{\"a\" 1}", "\"\u{1}\"",
    ])
    func jsonRefuses(_ text: String) {
        #expect(JSONValue(parsing: Array(text.utf8)) == nil)
    }

    @Test func jsonReads() {
        let parsed = JSONValue(parsing: Array(#"[null,true,false,-1.5e3,"\b\f\n\r\t\/",{"a":1,"a":2}]"#.utf8))
        #expect(
            parsed
                == .array([
                    .null, .bool(true), .bool(false), .number(Array("-1.5e3".utf8)), .string([8, 12, 10, 13, 9, 47]),
                    .object([(key: Array("a".utf8), value: .number(Array("2".utf8)))]),
                ]))
    }
}
