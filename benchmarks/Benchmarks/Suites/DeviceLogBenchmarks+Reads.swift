import DeviceLog
import NIOCore
import Ring

/// Reads of what has moved from memory to the index.
extension DeviceLogBenchmarks {
    static let reads = [
        Benchmark("device.index-lookup", "the version of one of 100,000 objects") { workspace in
            let count: UInt64 = 100_000
            let device = try filled(in: workspace, with: count) { serial in
                .put(
                    key(serial), timestamp: serial, metadata: ByteBuffer(repeating: 1, count: 64),
                    body: .inline(ByteBuffer()))
            }
            return device.workload { log, number in
                try log.version(of: key(SplitMix.mix(number) % count + 1)).timestamp
            }
        },
        Benchmark(
            "device.verified-read", "an object of 4 KiB out of the page cache, checked",
            checks: [.cpu(.md5), .cpu(.copy)]
        ) { workspace in
            let count: UInt64 = 10_000
            let device = try filled(in: workspace, with: count) { serial in
                .put(
                    key(serial), timestamp: serial, metadata: ByteBuffer(repeating: 1, count: 200),
                    body: .inline(ByteBuffer(repeating: UInt8(truncatingIfNeeded: serial), count: 4096)))
            }
            return device.workload { log, number in
                let state = try log.object(key(SplitMix.mix(number) % count + 1), mayBlock: true)
                guard case .live(let object) = state, case .inline(let body) = object.body else {
                    throw BenchmarkFailure("an object is gone")
                }
                return UInt64(body.readableBytes)
            }
        },
    ]

    /// From the disk, since an audit goes past the page cache: judged by the processor's time only.
    static let audits = [
        Benchmark(
            "device.audit", "a pass of the audit over 16,000 objects of 4 KiB", size: .lasting(milliseconds: 300)
        ) { workspace in
            let device = try filled(in: workspace, with: 16_000) { serial in
                .put(
                    key(serial), timestamp: serial, metadata: ByteBuffer(repeating: 1, count: 200),
                    body: .inline(ByteBuffer(repeating: UInt8(truncatingIfNeeded: serial), count: 4096)))
            }
            return device.workload { log, _ in
                var bytes: UInt64 = 0
                let audit = DeviceAudit(
                    log,
                    advance: { count, _ in
                        bytes += UInt64(count)
                        return true
                    }, found: { _ in bytes = 0 })
                guard try audit.run(), bytes > 16_000 * 4096 else { throw BenchmarkFailure("the audit found damage") }
                return bytes
            }
        }
    ]

    /// A container of 1,000 folders of 100 objects each.
    static let listings = [
        Benchmark("device.scan", "1,000 rows of a listing of 100,000") { workspace in
            try listing(in: workspace).workload { log, number in
                var rows = 0
                var bytes: UInt64 = 0
                let folder = SplitMix.mix(number) % (folders - 20)
                try log.scan(table, from: .at(name(folder: folder, file: 0))) { name, row in
                    rows += 1
                    bytes &+= UInt64(row.bytes) &+ UInt64(name.count) &+ UInt64(row.value.count)
                    return rows == 1000 ? .stop : .next
                }
                guard rows == 1000 else { throw BenchmarkFailure("a scan gave \(rows) rows") }
                return bytes
            }
        },
        Benchmark("device.delimiter-seek", "to the first row of each of 1,000 folders") { workspace in
            try listing(in: workspace).workload { log, _ in
                var found: UInt64 = 0
                try log.scan(table, from: .first) { name, _ in
                    found += 1
                    // "0" follows the delimiter "/".
                    return .seek(to: name.prefix { $0 != UInt8(ascii: "/") } + [UInt8(ascii: "0")])
                }
                guard found == folders else { throw BenchmarkFailure("a scan found \(found) folders") }
                return found
            }
        },
    ]

    private static let table = TableKey(kind: .container, hash: PathHash(high: 1, low: 1))
    private static let folders: UInt64 = 1000
    private static let filesPerFolder: UInt64 = 100

    private static func name(folder: UInt64, file: UInt64) -> [UInt8] {
        Array("folder-\(folder + 1000)/picture-\(file + 100).jpg".utf8)
    }

    private static func listing(in workspace: Workspace) throws -> FilledDevice {
        let value = ByteBuffer(repeating: 1, count: 60)
        return try filled(in: workspace, with: folders * filesPerFolder) { serial in
            let (folder, file) = (serial - 1).quotientAndRemainder(dividingBy: filesPerFolder)
            let name = name(folder: folder, file: file)
            return .row(table, Row(name: name, timestamp: serial, bytes: 4096, count: 1, value: value))
        }
    }

    /// A device with that many writes, of serial numbers from 1, all of them in the index.
    private static func filled(
        in workspace: Workspace, with count: UInt64, write: (_ serial: UInt64) -> Write
    ) throws -> FilledDevice {
        let (log, directory) = try open(in: workspace) { $0.driver = .manual }
        let check = AllStored()
        for serial in 1...count {
            log.submit(write(serial), completion: check)
            if serial % 4096 == 0 || serial == count { while log.commitOnce() {} }
        }
        guard check.stored == count else { throw BenchmarkFailure("\(check.stored) of \(count) writes were stored") }
        try log.flushIndex()
        return FilledDevice(log: log, directory: directory)
    }
}

/// A device to be read from.
private struct FilledDevice {
    let log: DeviceLog
    let directory: String

    func workload(_ read: @escaping (DeviceLog, _ number: UInt64) throws -> UInt64) -> Workload {
        Workload(
            run: { operations in
                var sum: UInt64 = 0
                for number in 0..<UInt64(operations) { sum &+= try read(log, number) }
                return sum
            },
            finish: {
                log.close()
                Workspace.remove(directory)
            })
    }
}

/// Counts the writes that succeeded.
///
/// Unchecked: with the manual driver everything happens on one thread.
private final class AllStored: WriteCompletion, CompletionSink, @unchecked Sendable {
    private(set) var stored: UInt64 = 0

    var sink: any CompletionSink { self }

    func deliver(_ finished: [FinishedWrite]) {
        for write in finished {
            if case .stored = write.outcome { stored += 1 }
        }
    }
}
