import HTTPServer
import NIOCore
import Testing

/// Random and mutated bytes: no trap, the same events however they are cut, and nothing kept beyond the limits.
@Suite struct ParserFuzzTests {
    static let valid = [
        "GET /v1/AUTH_a/c/o?format=json HTTP/1.1\r\nHost: h:8080\r\nX-Auth-Token: AUTH_tk0123\r\nAccept: */*\r\n\r\n",
        "PUT /v1/AUTH_a/c/o HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\nhello world",
        "PUT /o HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nT: v\r\n\r\n",
        "POST http://h/x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcOPTIONS * HTTP/1.0\r\n\r\n",
    ].map { Array($0.utf8) }

    /// Bytes that mean something to the parser are likelier than others.
    static let interesting = Array("\r\n\r\n :;,\0\t\u{7F}0159afAF/*%-GETHTP.x".utf8) + [0x80, 0xFF, 0x0B]

    @Test(arguments: 1...8 as ClosedRange<UInt64>) func survives(_ seed: UInt64) {
        var random = SeededGenerator(seed)
        for round in 0..<250 {
            let input = round % 4 == 0 ? noise(&random) : mutated(&random)
            let whole = transcript(input, step: input.count + 1)
            let step = Int.random(in: 1...9, using: &random)
            let pieces = transcript(input, step: step)
            if whole != pieces {
                Issue.record("seed \(seed) round \(round) step \(step): \(input) gave \(whole) and \(pieces)")
                return
            }
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func keepsLittle(_ seed: UInt64) {
        var random = SeededGenerator(seed)
        let limits = HTTPLimits()
        let most = limits.requestLine + limits.headerBytes + 4096
        var parser = HTTPRequestParser(limits: limits)
        for _ in 0..<400 {
            let start = Self.valid.randomElement(using: &random) ?? []
            let filler = [UInt8](repeating: UInt8.random(in: 0x20...0x7E, using: &random), count: 1024)
            parser.feed(ByteBuffer(bytes: Bool.random(using: &random) ? start : filler))
            while let event = parser.next() {
                if case .end = event { parser.startNextRequest() }
                if case .failure = event { parser = HTTPRequestParser(limits: limits) }
            }
            #expect(parser.bufferedBytes <= most, "seed \(seed)")
        }
    }

    private func noise(_ random: inout SeededGenerator) -> [UInt8] {
        (0..<Int.random(in: 1...200, using: &random)).map { _ in
            Bool.random(using: &random)
                ? UInt8.random(in: 0...255, using: &random) : Self.interesting.randomElement(using: &random) ?? 0
        }
    }

    private func mutated(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Self.valid.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            let byte = Self.interesting.randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[index] = byte
            case 1: bytes.insert(byte, at: index)
            case 2: if bytes.count > 1 { bytes.remove(at: index) }
            default:
                let end = Int.random(in: index..<bytes.count, using: &random)
                bytes.insert(contentsOf: bytes[index...end], at: index)
            }
        }
        return bytes
    }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
