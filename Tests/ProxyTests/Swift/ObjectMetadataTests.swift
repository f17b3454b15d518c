import Testing

@testable import Proxy

@Suite struct ObjectMetadataTests {
    private let now: UInt64 = 100_000_050_000  // 1000000.5
    private let constraints = Constraints()

    private func headers(_ fields: [(String, String)]) -> [MetadataItem] {
        fields.map { MetadataItem($0.0, $0.1) }
    }

    private func put(_ fields: [(String, String)], name: String = "o") throws(SwiftError) -> ObjectMetadata {
        try ObjectMetadata(put: headers(fields), object: Array(name.utf8), now: now, constraints: constraints)
    }

    @Test func gathersWhatIsStored() throws {
        let metadata = try put([
            ("content-type", "text/x"), ("x-object-meta-foo-BAR", "1"), ("X-Object-Meta-a_b", ""),
            ("content-encoding", "gzip"), ("Content-Disposition", "inline"), ("ETag", "x"), ("Host", "h"),
            ("X-Object-Sysmeta-Secret", "1"), ("X-Object-Transient-Sysmeta-Secret", "1"), ("X-Backend-X", "1"),
            ("X-Robots-Tag", "none"), ("x-object-manifest", "c/p"), ("X-Delete-At", "2000000"),
        ])
        #expect(metadata.contentType == Array("text/x".utf8))
        #expect(metadata.deleteAt == 2_000_000)
        #expect(
            metadata.items
                == headers([
                    ("X-Object-Meta-Foo-Bar", "1"), ("X-Object-Meta-A_B", ""), ("Content-Encoding", "gzip"),
                    ("Content-Disposition", "inline"), ("X-Robots-Tag", "none"), ("X-Object-Manifest", "c/p"),
                ]))
    }

    @Test func repeatedFieldsAreOneList() throws {
        #expect(
            try put([("X-Object-Meta-A", "1"), ("x-object-meta-a", "2")]).items
                == headers([("X-Object-Meta-A", "1,2")]))
    }

    @Test(
        arguments: [
            ("a.txt", [], "text/plain"),
            ("a.tar.gz", [], "application/x-tar"),
            ("a.tgz", [], "application/x-tar"),
            ("a.gz", [], "application/octet-stream"),
            ("A.JPG", [], "image/jpeg"),
            ("d.txt/o", [], "application/octet-stream"),
            (".txt", [], "application/octet-stream"),
            ("o", [("Content-Type", "")], "application/octet-stream"),
            ("a.html", [("Content-Type", "x/y")], "x/y"),
            ("a.html", [("Content-Type", "x/y"), ("X-Detect-Content-Type", "True")], "text/html"),
            ("a.html", [("Content-Type", "x/y"), ("X-Detect-Content-Type", "no")], "x/y"),
        ] as [(String, [(String, String)], String)])
    func contentTypes(_ name: String, _ fields: [(String, String)], _ type: String) throws {
        #expect(try put(fields, name: name).contentType == Array(type.utf8))
    }

    @Test(
        arguments: [
            ([("X-Delete-At", "1000000")], "X-Delete-At in past"),
            ([("X-Delete-At", "-5")], "X-Delete-At in past"),
            ([("X-Delete-At", "soon")], "Non-integer X-Delete-At"),
            ([("X-Delete-At", "")], "Non-integer X-Delete-At"),
            ([("X-Delete-After", "0")], "X-Delete-After in past"),
            ([("X-Delete-After", "-99999999999999999999999")], "X-Delete-After in past"),
            ([("X-Delete-After", "1.5")], "Non-integer X-Delete-After"),
            ([("X-Object-Meta-", "x")], "Metadata name cannot be empty"),
            ([("X-Object-Manifest", "c")], "X-Object-Manifest must be in the format container/prefix"),
            ([("X-Object-Manifest", "/c/p")], "X-Object-Manifest must be in the format container/prefix"),
            ([("X-Object-Manifest", "c/")], "X-Object-Manifest must be in the format container/prefix"),
            ([("X-Object-Manifest", "c/p?x")], "X-Object-Manifest must be in the format container/prefix"),
            ([("Host", String(repeating: "x", count: 8193))], "Header value too long: Host"),
            (
                [("x-object-meta-" + String(repeating: "n", count: 129), "x")],
                "Metadata name too long: x-object-meta-N" + String(repeating: "n", count: 128)
            ),
            (
                [("X-Object-Meta-A", String(repeating: "v", count: 257))],
                "Metadata value longer than 256: x-object-meta-A"
            ),
            ((0..<91).map { ("X-Object-Meta-\($0)", "") }, "Too many metadata items; max 90"),
            (
                (0..<20).map { ("X-Object-Meta-\($0)", String(repeating: "v", count: 250)) },
                "Total metadata too large; max 4096"
            ),
            ((0..<127).map { ("Y-\($0)", "") }, "Too many headers"),
        ] as [([(String, String)], String)])
    func refuses(_ fields: [(String, String)], _ sentence: String) {
        #expect(throws: SwiftError(400, sentence)) { try put(fields) }
    }

    @Test func atTheLimits() throws {
        _ = try put([("X-Object-Meta-" + String(repeating: "n", count: 128), String(repeating: "v", count: 256))])
        _ = try put((0..<90).map { ("X-Object-Meta-\($0)", "") })
        _ = try put(
            (0..<16).map { ("X-Object-Meta-\($0 % 10)" + ($0 < 10 ? "a" : "b"), String(repeating: "v", count: 254)) })
    }

    @Test func expiry() throws {
        #expect(try put([("X-Delete-After", "1")]).deleteAt == 1_000_001)
        #expect(try put([("X-Delete-After", "60"), ("X-Delete-At", "1")]).deleteAt == 1_000_060)
        #expect(try put([("X-Delete-At", "1000001")]).deleteAt == 1_000_001)
        #expect(try put([("X-Delete-At", "99999999999999999999999")]).deleteAt == 9_999_999_999)
    }

    @Test func refusesReservedAndInvalid() {
        #expect(throws: SwiftError.self) { try put([("X-Static-Large-Object", "true")]) }
        #expect(throws: SwiftError(400, "Invalid Content-Type")) {
            try ObjectMetadata(
                put: [MetadataItem(name: Array("Content-Type".utf8), value: [0xFF])], object: [65], now: now,
                constraints: constraints)
        }
    }

    private var stored: ObjectMetadata {
        ObjectMetadata(
            contentType: Array("a/b".utf8),
            items: headers([
                ("X-Object-Meta-Old", "1"), ("Content-Encoding", "gzip"), ("X-Static-Large-Object", "True"),
                ("X-Object-Manifest", "c/p"),
            ]), deleteAt: 5_000_000)
    }

    @Test func postReplaces() throws {
        let posted = try stored.posted(headers([("X-Object-Meta-New", "2")]), now: now, constraints: constraints)
        #expect(posted.contentType == Array("a/b".utf8))
        #expect(posted.items == headers([("X-Object-Meta-New", "2"), ("X-Static-Large-Object", "True")]))
        #expect(posted.deleteAt == nil)
        let typed = try stored.posted(headers([("Content-Type", "c/d")]), now: now, constraints: constraints)
        #expect(typed.contentType == Array("c/d".utf8))
    }

    @Test func copyMerges() throws {
        let given = headers([("X-Object-Meta-New", "2"), ("Content-Encoding", "br")])
        let copied = try stored.copied(given, keepsManifest: false, now: now, constraints: constraints)
        #expect(copied.contentType == Array("a/b".utf8))
        #expect(
            copied.items
                == headers([("X-Object-Meta-Old", "1"), ("Content-Encoding", "br"), ("X-Object-Meta-New", "2")]))
        #expect(copied.deleteAt == 5_000_000)
        let fresh = try stored.copied(
            given + headers([("X-Fresh-Metadata", "true"), ("Content-Type", "c/d")]), keepsManifest: false, now: now,
            constraints: constraints)
        #expect(fresh.items == given)
        #expect(fresh.deleteAt == nil)
        #expect(fresh.contentType == Array("c/d".utf8))
        let manifest = try stored.copied([MetadataItem](), keepsManifest: true, now: now, constraints: constraints)
        #expect(manifest.items == stored.items)
    }

    @Test func copyHoldsTheLimits() {
        let full = ObjectMetadata(
            contentType: [], items: headers((0..<90).map { ("X-Object-Meta-\($0)", "") }))
        #expect(throws: SwiftError(400, "Too many metadata items; max 90")) {
            try full.copied(
                headers([("X-Object-Meta-New", "")]), keepsManifest: false, now: now, constraints: constraints)
        }
    }

    @Test(
        arguments: [
            ([("Content-Length", "0")], BodyLength.known(0)),
            ([("Content-Length", "5368709122")], .known(5_368_709_122)),
            ([("Transfer-Encoding", "Chunked"), ("Content-Length", "x")], .chunked),
        ] as [([(String, String)], BodyLength)])
    func bodyLengths(_ fields: [(String, String)], _ length: BodyLength) throws {
        #expect(try BodyLength(headers(fields), constraints: constraints) == length)
    }

    @Test(
        arguments: [
            ([], SwiftError(411, "Missing Content-Length header.")),
            ([("Content-Length", "5368709123")], SwiftError(413, "Your request is too large.")),
            ([("Content-Length", "-1")], SwiftError(400, "Invalid Content-Length header value")),
            (
                [("Transfer-Encoding", "gzip")],
                SwiftError(501, "Unsupported Transfer-Coding header value specified in Transfer-Encoding header")
            ),
        ] as [([(String, String)], SwiftError)])
    func refusesBodyLengths(_ fields: [(String, String)], _ error: SwiftError) {
        #expect(throws: error) { try BodyLength(headers(fields), constraints: constraints) }
    }
}
