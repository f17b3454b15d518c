import DeviceLog
import Logging
import NIOCore
import NIOPosix
import Ring

/// Durable writes as object and container servers make them: queued on an event loop, answered there after the group commit.
extension DeviceLogBenchmarks {
    static let commits =
        [1, 16, 64].map { writers in
            Benchmark(
                "device.commit-\(writers)-writers", "a durable put of 4 KiB",
                checks: [.wall(writers == 1 ? .sync : .batch), .cpu(.md5)],
                size: .lasting(milliseconds: 300)
            ) { workspace in
                let body = ByteBuffer(repeating: 7, count: 4096)
                let metadata = ByteBuffer(repeating: 1, count: 200)
                return try committing(in: workspace, writers: writers) { serial in
                    .put(key(serial), timestamp: serial, metadata: metadata, body: .inline(body))
                }
            }
        } + [
            Benchmark(
                "device.row-16-writers", "a durable row of a container", checks: [.wall(.batch), .cpu(.md5)],
                size: .lasting(milliseconds: 300)
            ) { workspace in
                let table = TableKey(kind: .container, hash: PathHash(high: 1, low: 1))
                let value = ByteBuffer(repeating: 1, count: 60)
                return try committing(in: workspace, writers: 16) { serial in
                    let name = Array("picture-\(SplitMix.mix(serial)).jpg".utf8)
                    return .row(table, Row(name: name, timestamp: serial, bytes: 4096, count: 1, value: value))
                }
            }
        ]

    /// An evenly spread key, as hashes are.
    static func key(_ serial: UInt64) -> ObjectKey {
        ObjectKey(policy: 0, hash: PathHash(high: SplitMix.mix(serial), low: serial))
    }

    static func open(
        in workspace: Workspace, change: (inout Configuration) -> Void = { _ in }
    ) throws -> (log: DeviceLog, directory: String) {
        let directory = try workspace.makeDirectory("device")
        var configuration = Configuration()
        // The disk may be nearly full: a benchmark writes some hundred megabytes and removes them.
        configuration.reserve = 0
        change(&configuration)
        let log = try DeviceLog.open(
            directory: directory, identity: DeviceIdentity(clusterID: "benchmark", deviceID: 0),
            configuration: configuration, logger: Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() })
        return (log, directory)
    }

    private static func committing(
        in workspace: Workspace, writers: Int, write: @escaping (_ serial: UInt64) -> Write
    ) throws -> Workload {
        let (log, directory) = try open(in: workspace)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        let loop = ClosedLoop(clients: writers, on: eventLoop)
        let completion = Committed(sink: EventLoopSink(eventLoop: eventLoop), log: log, loop: loop)
        loop.begin = { log.submit(write($0), completion: completion) }
        return Workload(
            run: { try loop.run($0) },
            finish: {
                loop.begin = { _ in }
                log.close()
                try group.syncShutdownGracefully()
                Workspace.remove(directory)
            })
    }
}

/// Ends an operation of a closed loop when its write is durable.
private final class Committed: WriteCompletion {
    let sink: any CompletionSink
    private let log: DeviceLog
    private let loop: ClosedLoop

    init(sink: any CompletionSink, log: DeviceLog, loop: ClosedLoop) {
        self.sink = sink
        self.log = log
        self.loop = loop
    }

    func completed(_ outcome: WriteOutcome) {
        guard case .stored(let position) = outcome else { return loop.finished("a write ended with \(outcome)") }
        log.confirm(position)
        loop.finished()
    }
}
