import DeviceLog
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ObjectServer

/// Writes that one replica had when the process ended are with all of them once `start` is done, and nothing newer is undone.
struct RestartRepairTests {
    private static let container = PathHash(high: 9, low: 9)
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test func aWriteOfAMinorityGoesToAllReplicas() async throws {
        let files = MemoryFileSystem()
        let deleted = key(1)
        let put = key(2)
        let overtaken = key(3)
        let first = try Self.open(files)
        for (device, log) in first {
            log.write(deleted, at: 10)
            if device != 1 { log.write(overtaken, at: 30) }
        }
        // Cut off: a delete, a put, and a put that the others have a newer one of.
        let row = TableRow(removed: Array("o".utf8), policy: 0, timestamp: Timestamp(rawValue: 20))
        let table = TableAddress(device: 2, kind: .container, hash: Self.container)
        let tombstone = PendingUpdate(PutRow(table: table, row: row)).encoded()
        guard case .stored = first[2]?.perform(.delete(deleted, timestamp: 20, metadata: tombstone)) else {
            throw Unexpected()
        }
        first[0]?.write(put, at: 40, isConfirmed: false)
        first[1]?.write(overtaken, at: 25, isConfirmed: false)
        for log in first.values { log.close() }

        let logs = try Self.open(files)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let workers = NIOThreadPool(numberOfThreads: 1)
        workers.start()
        let nodes = OneNode()
        let server = ObjectServer(
            devices: logs, nodes: nodes, workers: workers, sinks: EventLoopSinks(), logger: Self.logger)
        nodes.node.withLock { $0 = LocalNode(handler: server) }
        let updater = Updater(
            server: server, eventLoop: group.next(), logger: Self.logger,
            rowTarget: { _, device in RowTarget(device: device, container: Self.container) },
            replicas: { _, _ in (0..<3).map { ObjectReplica(device: $0, container: $0) } })
        try await updater.start().get()
        for (device, log) in logs {
            #expect(try log.version(of: deleted).kind == .tombstone, "device \(device)")
            #expect(try log.version(of: deleted).timestamp == 20, "device \(device)")
            #expect(try log.version(of: put).timestamp == 40, "device \(device)")
            #expect(try log.version(of: overtaken).timestamp == (device == 1 ? 25 : 30), "device \(device)")
        }
        updater.stop()
        for log in logs.values { log.close() }
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    private func key(_ number: UInt64) -> ObjectKey { ObjectKey(policy: 0, hash: PathHash(high: number, low: 1)) }

    private static func open(_ files: MemoryFileSystem) throws -> [UInt16: DeviceLog] {
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        var logs: [UInt16: DeviceLog] = [:]
        for device in 0..<3 as Range<UInt16> {
            logs[device] = try DeviceLog.open(
                directory: "/\(device)", identity: DeviceIdentity(clusterID: "test", deviceID: Int(device)),
                fileSystem: files, configuration: configuration, logger: logger)
        }
        return logs
    }

    private struct Unexpected: Error {}

    private final class OneNode: NodeDirectory {
        let node = Mutex<LocalNode?>(nil)

        func node(ofDevice device: UInt16) -> (any StorageNode)? { node.withLock { $0 } }
    }
}

extension DeviceLog {
    fileprivate func write(_ key: ObjectKey, at timestamp: UInt64, isConfirmed: Bool = true) {
        let head = ObjectHead(
            account: Array("a".utf8), container: Array("c".utf8), object: Array("o".utf8), size: 4, etag: [],
            contentType: Array("x/y".utf8))
        let outcome = perform(
            .put(key, timestamp: timestamp, metadata: head.encoded(), body: .inline(ByteBuffer(string: "body"))))
        if isConfirmed, case .stored(let position) = outcome { confirm(position) }
    }
}
