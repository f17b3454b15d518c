import Testing

@testable import Proxy

@Suite struct MetadataUpdateTests {
    private let owner = MetadataUpdate.Rights(isOwner: true, isResellerAdmin: false)
    private let reseller = MetadataUpdate.Rights(isOwner: true, isResellerAdmin: true)
    private let writer = MetadataUpdate.Rights(isOwner: false, isResellerAdmin: false)

    private func items(_ fields: [(String, String)]) -> [MetadataItem] {
        fields.map { MetadataItem($0.0, $0.1) }
    }

    private func container(
        _ fields: [(String, String)], _ rights: MetadataUpdate.Rights? = nil
    ) throws(SwiftError) -> MetadataUpdate {
        try MetadataUpdate(container: items(fields), rights: rights ?? owner, constraints: Constraints())
    }

    private func account(
        _ fields: [(String, String)], _ rights: MetadataUpdate.Rights? = nil
    ) throws(SwiftError) -> MetadataUpdate {
        try MetadataUpdate(account: items(fields), rights: rights ?? owner, constraints: Constraints())
    }

    private func shown(_ update: MetadataUpdate) -> [String] {
        update.changes.map { change in
            String(decoding: change.name, as: UTF8.self) + "="
                + (change.value.map { String(decoding: $0, as: UTF8.self) } ?? "nil")
        }
    }

    @Test func containers() throws {
        let update = try container([
            ("x-container-meta-color", "red"), ("X-Container-Meta-Blank", "  "),
            ("X-Remove-Container-Meta-Old", "x"), ("X-Container-Read", ".referrer: *, bob"),
            ("X-Remove-Container-Write", "x"), ("X-Container-Meta-Access-Control-Allow-Origin", "*"),
            ("X-Storage-Policy", "gold"), ("X-Account-Meta-No", "x"), ("X-Container-Sysmeta-No", "x"),
            ("Content-Type", "x"), ("X-Remove-Container-Meta-", "x"),
        ])
        #expect(
            shown(update) == [
                "X-Container-Meta-Old=nil", "X-Container-Write=nil", "X-Container-Meta-Color=red",
                "X-Container-Meta-Blank=nil", "X-Container-Read=.r:*,bob",
                "X-Container-Meta-Access-Control-Allow-Origin=*",
            ])
        #expect(update.storagePolicy == Array("gold".utf8))
    }

    @Test func valueWinsOverRemoval() throws {
        let update = try container([("X-Remove-Container-Meta-A", "x"), ("X-Container-Meta-A", "1")])
        #expect(shown(update) == ["X-Container-Meta-A=1"])
    }

    @Test func accounts() throws {
        let update = try account([
            ("X-Account-Meta-Temp-URL-Key", "secret"), ("X-Remove-Account-Meta-Old", ""),
            ("X-Account-Access-Control", #"{ "admin": ["a"] }"#), ("X-Container-Read", ".r:*"),
        ])
        #expect(
            shown(update) == [
                "X-Account-Meta-Old=nil", "X-Account-Meta-Temp-Url-Key=secret",
                #"X-Account-Access-Control={"admin":["a"]}"#,
            ])
        #expect(shown(try account([("X-Account-Access-Control", "{}")])) == ["X-Account-Access-Control=nil"])
    }

    @Test func othersCannotSetWhatOwnersSet() throws {
        let update = try container(
            [
                ("X-Container-Read", "bob"), ("X-Remove-Container-Write", "x"), ("X-Container-Sync-Key", "k"),
                ("X-Container-Meta-Temp-URL-Key", "k"), ("X-Container-Meta-A", "1"),
            ], writer)
        #expect(shown(update) == ["X-Container-Meta-A=1"])
    }

    @Test func quotas() throws {
        #expect(throws: SwiftError(403)) { try account([("X-Account-Meta-Quota-Bytes", "1")]) }
        #expect(throws: SwiftError(403)) { try account([("X-Remove-Account-Meta-Quota-Bytes", "1")]) }
        #expect(shown(try account([("X-Account-Meta-Quota-Bytes", "1")], reseller)) == ["X-Account-Meta-Quota-Bytes=1"])
        #expect(throws: SwiftError(400, "Invalid bytes quota.")) {
            try account([("X-Account-Meta-Quota-Bytes", "x")], reseller)
        }
        #expect(throws: SwiftError(400, "Invalid bytes quota.")) {
            try container([("X-Container-Meta-Quota-Bytes", "x")])
        }
        #expect(throws: SwiftError(400, "Invalid count quota.")) {
            try container([("X-Container-Meta-Quota-Count", "-1")])
        }
        #expect(try container([("X-Container-Meta-Quota-Count", "")]).changes.count == 1)
    }

    @Test(
        arguments: [
            ([("X-Container-Write", ".r:*")], "Referrers not allowed in write ACL: '.r:*'"),
            ([("X-Container-Meta-", "x")], "Metadata name cannot be empty"),
            (
                [("X-Container-Meta-" + String(repeating: "n", count: 129), "")],
                "Metadata name too long: x-container-meta-N" + String(repeating: "n", count: 128)
            ),
            (
                [("X-Container-Meta-A", String(repeating: "v", count: 257))],
                "Metadata value longer than 256: x-container-meta-A"
            ),
            ((0..<91).map { ("X-Container-Meta-\($0)", "") }, "Too many metadata items; max 90"),
            ([("X-Any", String(repeating: "v", count: 8193))], "Header value too long: X-Any"),
        ] as [([(String, String)], String)])
    func refuses(_ fields: [(String, String)], _ sentence: String) {
        #expect(throws: SwiftError(400, sentence)) { try container(fields) }
    }

    @Test func refusesInvalidText() {
        #expect(throws: SwiftError(400, "Metadata must be valid UTF-8")) {
            try MetadataUpdate(
                container: [MetadataItem(name: Array("X-Container-Meta-A".utf8), value: [0xFF])], rights: owner,
                constraints: Constraints())
        }
        #expect(throws: SwiftError.self) { try account([("X-Account-Access-Control", "[]")]) }
    }

    @Test func appliesAndLimitsTheWhole() throws {
        let stored = items([("X-Container-Meta-A", "1"), ("X-Container-Meta-B", "2")])
        let update = try container([
            ("X-Container-Meta-A", ""), ("X-Container-Meta-B", "3"), ("X-Container-Meta-C", "4"),
        ])
        #expect(
            try update.applied(to: stored, constraints: Constraints())
                == items([("X-Container-Meta-B", "3"), ("X-Container-Meta-C", "4")]))
        let full = items((0..<90).map { ("X-Container-Meta-\($0)", "") })
        #expect(throws: SwiftError(400, "Too many metadata items; max 90")) {
            try update.applied(to: full, constraints: Constraints())
        }
        #expect(try container([]).isEmpty)
    }
}
