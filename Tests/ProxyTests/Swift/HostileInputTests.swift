import Testing

@testable import Proxy

/// Whatever comes from outside gives a value or an error, never a trap. A failure prints its seed.
@Suite struct HostileInputTests {
    /// SplitMix64 (Steele, Lea, Flood).
    private struct SeededGenerator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    private static let words = [
        "/", "v1", "%", "%2", "%00", "%ff", "?", "&", "=", "bytes=", "-", ",", "0", "18446744073709551615", "9", ";q=",
        ".", "*/*", "text/plain", "Sun, ", "06 ", "Nov ", "1994 ", "08:49:37 ", "GMT", "\"", ":", " ", "-1", "limit",
        "99999999999999999999",
    ].map { Array($0.utf8) }

    private func text(_ generator: inout SeededGenerator) -> [UInt8] {
        var text = [UInt8]()
        for _ in 0..<Int.random(in: 0..<12, using: &generator) {
            if Bool.random(using: &generator) {
                text += Self.words.randomElement(using: &generator) ?? []
            } else {
                text.append(UInt8.random(in: 0...255, using: &generator))
            }
        }
        return text
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func nothingTraps(_ seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        let constraints = Constraints()
        let names = [
            "X-Delete-At", "X-Delete-After", "X-Object-Manifest", "Content-Type", "X-Object-Meta-A", "If-Match",
            "If-None-Match", "If-Modified-Since", "Content-Length", "Transfer-Encoding", "Destination", "Origin",
            "Access-Control-Request-Headers", "X-Container-Read", "X-Account-Access-Control",
        ].map { Array($0.utf8) }
        for _ in 0..<1500 {
            let text = text(&generator)
            if case .object(let account, let container, let object) = try? SwiftPath.parse(
                text, constraints: constraints)
            {
                #expect(!account.isEmpty && !container.isEmpty && !object.isEmpty, "seed \(seed)")
            }
            if let query = try? QueryParameters(parsing: text) {
                _ = try? ListingQuery(query, accept: text, kind: .container, constraints: constraints)
            }
            let sizes: [UInt64] = [0, 1, 100, .max]
            let size = sizes.randomElement(using: &generator) ?? 0
            if case .multiple(let ranges) = RangeHeader.resolve(Array("bytes=".utf8) + text, size: size) {
                #expect(ranges.allSatisfy { !$0.isEmpty && $0.upperBound <= size }, "seed \(seed)")
            }
            _ = HTTPDate.parse(text)
            let now = UInt64.random(in: 0...1_000_000_000_000_000, using: &generator)
            let headers = [
                MetadataItem(name: names.randomElement(using: &generator) ?? [], value: text),
                MetadataItem(name: self.text(&generator), value: text),
            ]
            let stored = try? ObjectMetadata(put: headers, object: text, now: now, constraints: constraints)
            _ = try? stored?.copied(headers, keepsManifest: false, now: now, constraints: constraints)
            _ = try? BodyLength(headers, constraints: constraints)
            _ = try? CopyLocation.destination(headers, account: [97], constraints: constraints)
            _ = Preconditions(headers).evaluate(etag: text, timestamp: now)
            let rights = MetadataUpdate.Rights(isOwner: true, isResellerAdmin: true)
            _ = try? MetadataUpdate(container: headers, rights: rights, constraints: constraints)
            _ = try? MetadataUpdate(account: headers, rights: rights, constraints: constraints)
            let cors = CORS(containerMetadata: headers)
            _ = CORS.options(headers, policy: cors, methods: ["GET"])
            _ = cors.headers(origin: text, response: headers)
            _ = try? Credentials(headers)
        }
    }
}
