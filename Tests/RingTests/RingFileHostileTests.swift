import Ring
import Testing

/// Files that are damaged or made to hurt: always an error, never a trap or much memory.
@Suite struct RingFileHostileTests {
    private static func sample(columns: Double = 2.5) throws -> [UInt8] {
        var builder = try Clusters.builder(partPower: 5, replicas: columns, zones: 3, disks: 1)
        try builder.rebalance(now: 1_000_000)
        return RingFile.encode(builder.ring())
    }

    @Test func everyTruncationIsFound() throws {
        let whole = try Self.sample()
        for count in 0..<whole.count {
            #expect(throws: RingFileError.self) { try RingFile.decode(Array(whole[..<count])) }
        }
    }

    @Test func everyFlippedByteIsSurvived() throws {
        let whole = try Self.sample()
        let reference = RingFile.encode(try RingFile.decode(whole))
        for position in whole.indices {
            var damaged = whole
            damaged[position] ^= 0x41
            // What decodes in spite of the damage (a byte of the gzip header) has to be the same ring.
            if let ring = try? RingFile.decode(damaged) { #expect(RingFile.encode(ring) == reference) }
        }
    }

    @Test(arguments: 1...300) func randomBytesAreRefused(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let bytes = (0..<Int.random(in: 0...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        #expect(throws: RingFileError.self, "seed \(seed)") { try RingFile.decode(bytes) }
        #expect(throws: BuilderFileError.self, "seed \(seed)") { try BuilderFile.decode(bytes) }
    }

    @Test func metadataThatMakesNoSense() throws {
        let device = """
            {"id": 0, "zone": 1, "ip": "a", "port": 1, "device": "d", "weight": 1}
            """
        let rows = [UInt8](repeating: 0, count: 4)
        func decode(_ json: String, _ rows: [UInt8]) throws -> Ring { try RingFile.decode(version1(json, rows)) }
        let good = "{\"devs\": [\(device)], \"part_shift\": 31, \"replica_count\": 1}"
        #expect(Array(try decode(good, rows).primaries(of: 1)) == [0])
        for (json, error) in [
            ("{}", RingFileError.member("part_shift")),
            ("{\"devs\": [], \"part_shift\": 33, \"replica_count\": 1}", .member("part_shift")),
            ("{\"devs\": [], \"part_shift\": -1, \"replica_count\": 1}", .member("part_shift")),
            ("{\"devs\": [], \"part_shift\": 31, \"replica_count\": -1}", .member("replica_count")),
            ("{\"devs\": [], \"part_shift\": 31, \"replica_count\": 1.5}", .member("replica_count")),
            (
                "{\"devs\": [], \"part_shift\": 31, \"replica_count\": 1e99}",
                .tooLarge("the number of replicas", limit: 256)
            ),
            (
                "{\"devs\": [], \"part_shift\": 0, \"replica_count\": 200}",
                .tooLarge("the number of assignments", limit: 1 << 28)
            ),
            ("{\"devs\": 7, \"part_shift\": 31, \"replica_count\": 1}", .member("devs")),
            ("{\"devs\": [7], \"part_shift\": 31, \"replica_count\": 1}", .device(0)),
            ("{\"devs\": [null, \(device)], \"part_shift\": 31, \"replica_count\": 1}", .device(1)),
            ("{\"devs\": [null], \"part_shift\": 31, \"replica_count\": 1}", .unknownDevice(partition: 0, id: 0)),
            (
                "{\"byteorder\": \"pdp\", \"devs\": [\(device)], \"part_shift\": 31, \"replica_count\": 1}",
                .member("byteorder")
            ),
        ] {
            #expect(throws: error, "\(json)") { try decode(json, rows) }
        }
        #expect(throws: RingFileError.unknownDevice(partition: 1, id: 1)) { try decode(good, [0, 0, 1, 0]) }
        #expect(throws: RingFileError.trailingBytes) { try decode(good, rows + [0]) }
        #expect(throws: RingFileError.truncated) { try decode(good, [0]) }
        #expect(try decode(good, [0xFF, 0xFF, 0, 0]).primaries(of: 0).isEmpty, "65535 is no device")
    }

    @Test func lengthsAreNotBelieved() throws {
        let claims = Array("R1NG".utf8) + [0, 1, 0x7F, 0xFF, 0xFF, 0xFF]
        #expect(throws: RingFileError.tooLarge("the metadata", limit: RingFile.Limit.metadataBytes)) {
            try RingFile.decode(stored(claims))
        }
        #expect(throws: RingFileError.truncated) {
            try RingFile.decode(stored(Array("R1NG".utf8) + [0, 1, 0x01, 0xFF, 0xFF, 0xFF]))
        }
        #expect(throws: RingFileError.unknownVersion(3)) { try RingFile.decode(stored(Array("R1NG".utf8) + [0, 3])) }
        #expect(throws: RingFileError.notARing) { try RingFile.decode(stored(Array("PNG!".utf8) + [0, 1])) }
    }

    @Test func jsonIsBounded() throws {
        func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: text.utf8) }
        #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 100_000)) }
        for text in [
            "", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "\"", "\"\\", "\"\\u12", "\"\\ud800\"", "\"\\ud800\\u0041\"",
            "\"\\x\"", "tru", "-", "1.", "1e", "nan", "01x", "1 2", "\"\u{01}\"", "1e999",
        ] {
            #expect(throws: JSONError.self, "\(text)") { try parse(text) }
        }
        #expect(
            try parse(" {\"a\": [1, -2.5e1, \"\\ud83d\\ude42\\n\", true, null]} ").text
                == "{\"a\": [1, -25.0, \"\\ud83d\\ude42\\u000a\", true, null]}")
    }

    @Test func damagedBuilders() throws {
        var builder = try Clusters.builder(partPower: 4, zones: 3, disks: 1)
        try builder.rebalance(now: 1_000_000)
        let whole = BuilderFile.encode(builder)
        for count in 0..<whole.count {
            #expect(throws: BuilderFileError.self) { try BuilderFile.decode(Array(whole[..<count])) }
        }
        for position in whole.indices {
            var damaged = whole
            damaged[position] ^= 0x41
            if let same = try? BuilderFile.decode(damaged) { #expect(BuilderFile.encode(same) == whole) }
        }
    }

    private func version1(_ json: String, _ rows: [UInt8]) -> [UInt8] {
        let count = json.utf8.count
        return stored(
            Array("R1NG".utf8) + [0, 1, 0, 0, UInt8(count >> 8), UInt8(count & 255)] + Array(json.utf8) + rows)
    }

    /// A gzip member with one stored block.
    private func stored(_ bytes: [UInt8]) -> [UInt8] {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        func little(_ value: UInt32, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt32($0 * 8)) }
        }
        let count = UInt32(bytes.count)
        return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 1] + little(count, 2) + little(~count, 2) + bytes
            + little(~crc, 4)
            + little(count, 4)
    }
}
