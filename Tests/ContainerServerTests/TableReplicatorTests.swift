import DeviceLog
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ContainerServer

struct TableReplicatorTests {
    @Test func tablesThatWentApartAgreeInTheEnd() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SplitMix(seed: seed)
        let nodes = try TableNodes(devices: 4)
        let tables = (0..<12 as Range<UInt64>).map { nodes.table($0) }
        for _ in 0..<1500 {
            let table = tables.randomElement(using: &generator)!
            let device = nodes.primaries(table).randomElement(using: &generator)!
            let name = Array("row \(Int.random(in: 0..<30, using: &generator))".utf8)
            let deleted = Bool.random(using: &generator)
            let size = Int64.random(in: 0..<4, using: &generator)
            let row = Row(
                name: name, timestamp: UInt64.random(in: 1...40, using: &generator), deleted: deleted,
                bytes: deleted ? 0 : size, count: deleted ? 0 : 1)
            _ = nodes.logs[device]!.perform(.row(table, row))
            if Int.random(in: 0..<10, using: &generator) == 0 {
                let item = TableHead.Item(
                    name: Array("X-Meta-\(Int.random(in: 0..<5, using: &generator))".utf8),
                    value: Array("\(size)".utf8),
                    timestamp: Timestamp(rawValue: UInt64.random(in: 1...40, using: &generator)))
                nodes.merge(item, into: table, on: device)
            }
        }
        for _ in 0..<2 { try await nodes.runPasses() }
        for table in tables {
            let states = try nodes.primaries(table).map { device in
                let (info, stats) = try nodes.logs[device]!.tableInfo(table)
                return (try info.map { try TableHead(decoding: $0).digest }, stats)
            }
            for state in states.dropFirst() {
                #expect(state.0 == states[0].0, "seed \(seed)")
                #expect(state.1 == states[0].1, "seed \(seed)")
            }
        }
        try await nodes.runPasses()
        for replicator in nodes.replicators { #expect(replicator.figures.isComplete, "seed \(seed)") }
        try await nodes.close()
    }

    @Test func ofALongTableOnlyWhatDiffersTravels() async throws {
        let nodes = try TableNodes(devices: 3)
        let table = nodes.table(1)
        let missed = [0, 1234, 4999]
        for device in 0..<3 as Range<UInt16> {
            let log = nodes.logs[device]!
            for number in 0..<5000 where device != 2 || !missed.contains(number) {
                let row = Row(name: TableNodes.name(number), timestamp: 10, bytes: 1, count: 1)
                log.submit(.row(table, row), completion: Ignored.shared)
            }
            _ = log.perform(.row(table, Row(name: Array("last".utf8), timestamp: 10, deleted: true)))
        }
        // Live there, deleted here: both digests of the chunk differ.
        _ = nodes.logs[2]!.perform(.row(table, Row(name: TableNodes.name(77), timestamp: 12, deleted: true)))
        try await nodes.runPasses()
        for device in 0..<3 as Range<UInt16> {
            let (_, stats) = try nodes.logs[device]!.tableInfo(table)
            #expect(stats.total.rows == 4999)
            #expect(try nodes.logs[device]!.row(table, name: TableNodes.name(77))?.deleted == true)
        }
        #expect(nodes.replicators[2].figures.mergedRows == 3)
        #expect(nodes.replicators[0].figures.mergedRows == 1)
        try await nodes.close()
    }

    @Test func aTableThatIsMisplacedIsGivenToItsPrimariesOnce() async throws {
        let nodes = try TableNodes(devices: 4)
        let table = nodes.table(5)
        let primaries = nodes.primaries(table)
        let handoff = (0..<4 as Range<UInt16>).first { !primaries.contains($0) }!
        _ = nodes.logs[handoff]!.perform(.row(table, Row(name: [65], timestamp: 10, bytes: 1, count: 1)))
        nodes.away.withLock { $0 = primaries[0] }
        try await nodes.runPasses()
        #expect(nodes.replicators[Int(handoff)].remainder(of: handoff) == .init(misplacedTables: 1))
        nodes.away.withLock { $0 = nil }
        for _ in 0..<3 { try await nodes.runPasses() }
        for device in primaries { #expect(try nodes.logs[device]!.row(table, name: [65])?.timestamp == 10) }
        let merged = primaries.reduce(0) { $0 + nodes.replicators[Int($1)].figures.mergedTables }
        for _ in 0..<2 { try await nodes.runPasses() }
        #expect(nodes.replicators[Int(handoff)].remainder(of: handoff) == .init(settledVersion: 0))
        #expect(merged == primaries.reduce(0) { $0 + nodes.replicators[Int($1)].figures.mergedTables })
        try await nodes.close()
    }

    @Test func aTableThatIsBeingWrittenIsLeftAloneForSomePasses() async throws {
        let nodes = try TableNodes(devices: 3)
        let table = nodes.table(1)
        for device in 0..<3 as Range<UInt16> {
            let row = Row(name: [65 + UInt8(device)], timestamp: Timestamp(ticks: TableNodes.now).rawValue)
            _ = nodes.logs[device]!.perform(.row(table, row))
        }
        for _ in 0..<4 { try await nodes.runPasses() }
        #expect(try nodes.logs[0]!.row(table, name: [66]) == nil)
        #expect(nodes.replicators[0].figures.differingTables == 2)
        try await nodes.runPasses()
        for device in 0..<3 as Range<UInt16> { #expect(try nodes.logs[device]!.tableInfo(table).stats.total.rows == 3) }
        try await nodes.close()
    }
}

/// Some nodes in one process, each with one device in memory and a replicator whose passes are run by hand.
private final class TableNodes: NodeDirectory {
    static let now: UInt64 = 1 << 40
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    let ring: Ring
    let logs: [UInt16: DeviceLog]
    private(set) nonisolated(unsafe) var replicators: [TableReplicator] = []
    private let nodes = Mutex<[UInt16: LocalNode]>([:])
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let workers = NIOThreadPool(numberOfThreads: 2)

    init(devices: Int) throws {
        workers.start()
        var builder = try RingBuilder(partPower: 4, replicas: 3, minPartHours: 0)
        for device in 0..<devices {
            try builder.add(RingDevice(zone: device, ip: "10.0.0.1", port: 1, device: "d\(device)", weight: 1))
        }
        _ = try builder.rebalance(now: 0, seed: 1)
        ring = builder.ring()
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        var logs: [UInt16: DeviceLog] = [:]
        for device in 0..<UInt16(devices) {
            logs[device] = try DeviceLog.open(
                directory: "/device", identity: DeviceIdentity(clusterID: "test", deviceID: Int(device)),
                fileSystem: MemoryFileSystem(), configuration: configuration, logger: Self.logger)
        }
        self.logs = logs
        for device in 0..<UInt16(devices) {
            let server = ContainerServer(
                devices: [device: logs[device]!], workers: workers, sinks: EventLoopSinks(), logger: Self.logger)
            nodes.withLock { $0[device] = LocalNode(handler: server) }
            let replicator = TableReplicator(
                server: server, nodes: self, eventLoop: group.next(), logger: Self.logger, interval: .hours(1),
                now: { Timestamp(ticks: Self.now) }
            ) { [ring] in [.account: ring, .container: ring] }
            replicator.start(after: .hours(1))
            replicators.append(replicator)
        }
    }

    /// No message reaches it.
    let away = Mutex<UInt16?>(nil)

    func node(ofDevice device: UInt16) -> (any StorageNode)? {
        away.withLock { $0 == device } ? nil : nodes.withLock { $0[device] }
    }

    func table(_ number: UInt64) -> TableKey {
        var generator = SplitMix(seed: number)
        return TableKey(kind: .container, hash: PathHash(high: generator.next(), low: generator.next()))
    }

    static func name(_ number: Int) -> [UInt8] { Array("row \(10_000 + number)".utf8) }

    func primaries(_ table: TableKey) -> [UInt16] { ring.primaries(of: table.hash).deviceIDs }

    func merge(_ item: TableHead.Item, into table: TableKey, on device: UInt16) {
        _ = logs[device]!.perform(
            .tableInfo(table) { info, _ in
                var head =
                    info.flatMap { try? TableHead(decoding: $0) }
                    ?? TableHead(account: [97], container: [99], policy: 0, created: item.timestamp, put: .never)
                head.merge(item)
                return .replace(head.encoded())
            })
    }

    func runPasses() async throws {
        for replicator in replicators { try await replicator.runPass().get() }
    }

    func close() async throws {
        for replicator in replicators { replicator.stop() }
        for log in logs.values { log.close() }
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }
}

/// Nobody waits for it.
private final class Ignored: WriteCompletion, CompletionSink {
    static let shared = Ignored()
    var sink: any CompletionSink { self }
    func deliver(_ finished: [FinishedWrite]) {}
}

/// SplitMix64.
private struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
