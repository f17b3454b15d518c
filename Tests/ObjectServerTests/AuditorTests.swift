import Daemon
import DeviceLog
import Foundation
import Logging
import NIOCore
import Ring
import Synchronization
import Testing

@testable import ObjectServer

/// The thread that audits, as an operator steers it.
struct AuditorTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func open(_ fileSystem: FaultyFileSystem, _ number: UInt16) throws -> DeviceLog {
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        let log = try DeviceLog.open(
            directory: "/d\(number)", identity: DeviceIdentity(clusterID: "test", deviceID: Int(number)),
            fileSystem: fileSystem, configuration: configuration, logger: logger)
        for serial in 0..<20 as Range<UInt64> {
            let key = ObjectKey(policy: 0, hash: PathHash(high: serial, low: 1))
            let body = ByteBuffer(repeating: UInt8(serial), count: 1000)
            guard
                case .stored = log.perform(.put(key, timestamp: 5, metadata: ByteBuffer(), body: .inline(body)))
            else { throw DeviceLogError.closed }
        }
        return log
    }

    private static func wait(_ condition: () -> Bool) {
        let deadline = Date().addingTimeInterval(30)
        while !condition(), Date() < deadline { usleep(1000) }
        #expect(condition())
    }

    @Test func damageIsCountedAndRepairIsAskedFor() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let logs = try [UInt16(0), 1].map { try Self.open(fileSystem, $0) }
        let asked = Mutex<[String]>([])
        let auditor = Auditor(
            devices: logs.enumerated().map { Auditor.Device(id: UInt16($0), name: "d\($0)", log: $1) },
            logger: Self.logger
        ) { device, policy, hash in
            asked.withLock { $0.append("\(device) \(policy) \(hash.high)") }
        }
        #expect(auditor.control.status.pace == 2 * 8 << 20)
        // In the body of the fourth object.
        #expect(fileSystem.flipBit("/d1/log/00000001.segment", at: 256 + 3 * 1104 + 600, bit: 2))
        try auditor.start()
        auditor.control.setPace(0)
        Self.wait { auditor.control.status.lastPass != nil }
        #expect(asked.withLock { $0 } == ["1 0 3"])
        #expect(auditor.damaged(on: 0) == 0)
        #expect(auditor.damaged(on: 1) == 1)
        Self.wait { logs[1].statistics().quarantined == 1 }
        #expect(auditor.control.status.done >= 40 * 1104)
        // A pass more finds nothing more.
        let repaired = ObjectKey(policy: 0, hash: PathHash(high: 3, low: 1))
        #expect(throws: DeviceLogError.quarantined) { try logs[1].verify(repaired) }
        auditor.control.pause()
        auditor.control.resume()
        auditor.stop()
        #expect(auditor.damaged(on: 1) == 1)
        #expect(auditor.control.status.state == .stopped)
        for log in logs { log.close() }
    }

    @Test func devicesMayComeAndGo() throws {
        let fileSystem = FaultyFileSystem(seed: 1)
        let logs = try [UInt16(0), 1].map { try Self.open(fileSystem, $0) }
        let auditor = Auditor(
            devices: [Auditor.Device(id: 0, name: "d0", log: logs[0])], logger: Self.logger, repair: { _, _, _ in })
        let metrics = MetricsRegistry()
        try auditor.register(on: metrics)
        auditor.use([Auditor.Device(id: 1, name: "d1", log: logs[1])])
        for _ in 0..<2 { try auditor.register(on: metrics) }
        #expect(
            String(decoding: metrics.render(), as: UTF8.self).contains(
                "ringfort_auditor_damaged_total{device=\"d1\",id=\"1\"} 0"))
        logs[0].close()
        #expect(fileSystem.flipBit("/d1/log/00000001.segment", at: 256 + 3 * 1104 + 600, bit: 2))
        try auditor.start()
        auditor.control.setPace(0)
        Self.wait { auditor.control.status.lastPass != nil }
        #expect(auditor.damaged(on: 1) == 1)
        #expect(auditor.control.status.errors == 0)
        auditor.stop()
        logs[1].close()
    }

    @Test func aWorkerThatIsHeldCanBeStopped() throws {
        let log = try Self.open(FaultyFileSystem(seed: 1), 0)
        let auditor = Auditor(
            devices: [Auditor.Device(id: 0, name: "d0", log: log)], logger: Self.logger, repair: { _, _, _ in })
        try auditor.start()
        auditor.control.pause()
        auditor.control.setPace(1)
        auditor.stop()
        #expect(auditor.control.status.lastPass == nil)
        log.close()
    }

    @Test func itGivesWayToClients() {
        var pressure = AuditPressure()
        func load(queued: Int = 0, commits: UInt64, milliseconds: UInt64) -> DeviceLoad {
            DeviceLoad(queuedWrites: queued, commits: commits, syncNanoseconds: milliseconds * 1_000_000)
        }
        let verdicts = [
            load(commits: 10, milliseconds: 5000), load(commits: 10, milliseconds: 5000),
            load(commits: 20, milliseconds: 5010), load(commits: 22, milliseconds: 5060),
            load(commits: 22, milliseconds: 5060), load(queued: 64, commits: 90, milliseconds: 5061),
        ].map { pressure.isHigh($0) }
        #expect(verdicts == [false, false, false, true, false, true])
    }
}
