import Foundation
import Logging
import NIOCore
import Ring
import Testing

@testable import DeviceLog

/// A generator whose sequence its seed decides (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

let testIdentity = DeviceIdentity(clusterID: "test", deviceID: 1)

let quietLogger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Speaks when a single history is run.
let testLogger = CrashTests.seed == nil ? quietLogger : Logger(label: "history")

extension Configuration {
    /// Small segments, driven by hand.
    static var test: Configuration {
        var configuration = Configuration()
        configuration.driver = .manual
        configuration.segmentSize = 64 << 10
        configuration.zeroAhead = 0
        configuration.blobPiece = 8 << 10
        configuration.maximumMetadata = 4 << 10
        configuration.reserve = 0
        return configuration
    }
}

func hash(_ number: UInt64) -> PathHash {
    var generator = SeededGenerator(seed: number)
    return PathHash(high: generator.next(), low: generator.next())
}

func key(_ number: UInt64, policy: UInt8 = 0) -> ObjectKey {
    ObjectKey(policy: policy, hash: hash(number))
}

func table(_ number: UInt64) -> TableKey {
    TableKey(kind: .container, hash: hash(number))
}

func bytes(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

/// A new directory on disk, removed at the end.
final class TemporaryDirectory {
    let path: String

    init() {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("device-log-\(UUID())").path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

extension DeviceLog {
    @discardableResult
    func put(_ number: UInt64, at timestamp: UInt64, _ text: String = "body", metadata: String = "meta") -> WriteOutcome
    {
        perform(.put(key(number), timestamp: timestamp, metadata: bytes(metadata), body: .inline(bytes(text))))
    }

    func text(_ number: UInt64) throws -> String? {
        guard case .live(let object) = try object(key(number), mayBlock: true) else { return nil }
        guard case .inline(let body) = object.body else { return "blob" }
        return String(buffer: body)
    }

    func names(_ table: TableKey, from start: ScanStart = .first, reverse: Bool = false) throws -> [String] {
        var names: [String] = []
        try scan(table, from: start, reverse: reverse) { name, _ in
            names.append(String(decoding: name, as: UTF8.self))
            return .next
        }
        return names
    }
}

extension WriteOutcome {
    var isStored: Bool {
        if case .stored = self { return true }
        return false
    }
}
