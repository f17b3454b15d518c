import DeviceLog
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ObjectServer

struct UpdaterTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    /// More than two passes take.
    private static let count = 600

    /// All of them go one pass after the other, far sooner than with a rest after each, and each once.
    @Test func whatWaitsIsSentUntilNoneIsLeft() async throws {
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        let log = try DeviceLog.open(
            directory: "/0", identity: DeviceIdentity(clusterID: "test", deviceID: 0),
            fileSystem: MemoryFileSystem(), configuration: configuration, logger: Self.logger)
        for number in 0..<Self.count {
            let row = TableRow(
                removed: Array("\(number)".utf8), policy: 0, timestamp: Timestamp(rawValue: UInt64(number + 1)))
            let table = TableAddress(device: 1, kind: .container, hash: PathHash(high: 9, low: 9))
            _ = log.perform(.pending(payload: PendingUpdate(PutRow(table: table, row: row)).encoded()))
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let workers = NIOThreadPool(numberOfThreads: 1)
        workers.start()
        let rows = Rows()
        let server = ObjectServer(
            devices: [0: log], nodes: rows, workers: workers, sinks: EventLoopSinks(), logger: Self.logger)
        let updater = Updater(
            server: server, eventLoop: group.next(), logger: Self.logger, rowTarget: { _, _ in nil },
            replicas: { _, _ in [] })
        try await updater.start().get()
        for _ in 0..<400 where try !log.pendingUpdates(limit: 1).isEmpty {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(try log.pendingUpdates(limit: 1).isEmpty)
        let taken = rows.names.withLock { $0 }
        #expect(taken.count == Self.count)
        #expect(Set(taken).count == Self.count)
        updater.stop()
        log.close()
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    /// A node that takes every row.
    private final class Rows: StorageHandler, NodeDirectory {
        let names = Mutex<[[UInt8]]>([])

        func node(ofDevice device: UInt16) -> (any StorageNode)? { LocalNode(handler: self) }

        func handle(_ request: StorageRequest, call: ServerCall) {
            guard case .putRow(let put) = request else { return call.reply(.absent) }
            names.withLock { $0.append(put.row.name) }
            call.reply(.stored(rowStored: true))
        }

        func ended(_ call: ServerCall) {}
    }
}
