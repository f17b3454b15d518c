package import Daemon
package import DeviceLog
import Glibc
package import Logging
package import Ring
import Synchronization

/// Reads the devices of a node from their disks, one after the other and again and again, so that damage is found before the last
/// sound copy is gone.
///
/// It gives way to clients, and keeps to the pace of its `control`, in bytes per second over all devices.
package final class Auditor: Sendable {
    /// Asks the other replicas for a copy in place of a damaged one: device, storage policy, object.
    package typealias Repair = @Sendable (UInt16, UInt8, PathHash) -> Void

    /// A device of this node.
    package struct Device: Sendable {
        package var id: UInt16
        package var name: String
        package var log: DeviceLog

        package init(id: UInt16, name: String, log: DeviceLog) {
            self.id = id
            self.name = name
            self.log = log
        }
    }

    /// Per device. A disk of 10 TB takes two weeks.
    private static let defaultPace: Int64 = 8 << 20
    /// A start has other things to read.
    private static let firstRest: UInt64 = 60
    /// Between two passes over devices that hold little.
    private static let rest: UInt64 = 600
    /// How long a step waits for clients at most, so that it comes to an end on a disk that is always busy.
    private static let longestYield = 20
    private static let yieldMicroseconds: UInt32 = 50_000

    private static let niceness: Int32 = 10

    package let control: WorkerControl
    private let logger: Logger
    private let repair: Repair
    private let state = Mutex(State())

    private struct State {
        var thread: ServiceThread?
        /// In the order of their ids.
        var devices: [Device] = []
        /// Devices that have their counter.
        var registered: Set<UInt16> = []
        /// Damage found since the start, by device.
        var damaged: [UInt16: Int64] = [:]
    }

    package init(devices: [Device], logger: Logger, repair: @escaping Repair) {
        self.logger = logger
        self.repair = repair
        control = WorkerControl(
            name: "auditor", unit: .bytes, pace: Self.defaultPace * Int64(max(1, devices.count)))
        use(devices)
    }

    /// Other devices are read from the next pass on.
    package func use(_ devices: [Device]) {
        state.withLock { $0.devices = devices.sorted { $0.id < $1.id } }
    }

    /// Begins after a minute, or when an operator changes its control.
    package func start() throws {
        let thread = try ServiceThread(named: "auditor", niceness: Self.niceness) { [self] in
            guard control.rest(seconds: Self.firstRest) else { return }
            var pass = AuditPass(self)
            while pass.run(), control.rest(seconds: Self.rest) {}
        }
        state.withLock { $0.thread = thread }
    }

    /// Ends it and waits for its thread; before the devices are closed.
    package func stop() {
        control.stop()
        let thread = state.withLock { state in
            defer { state.thread = nil }
            return state.thread
        }
        thread?.join()
    }

    /// Damage found on a device since the start.
    package func damaged(on device: UInt16) -> Int64 { state.withLock { $0.damaged[device] ?? 0 } }

    /// Adds the counters of devices that have none yet.
    package func register(on metrics: MetricsRegistry) throws(MetricsError) {
        let devices = state.withLock { $0.devices }
        for device in devices where state.withLock({ $0.registered.insert(device.id).inserted }) {
            try metrics.counter(
                "ringfort_auditor_damaged_total", "Damaged copies, records and index runs that the auditor found",
                labels: [("device", device.name), ("id", "\(device.id)")]
            ) { [self] in Double(damaged(on: device.id)) }
        }
    }

    private func found(_ damage: DeviceDamage, on device: Device) {
        state.withLock { $0.damaged[device.id, default: 0] += 1 }
        switch damage {
        case .object(let key):
            logger.error(
                "The audit found a damaged copy",
                metadata: ["device": "\(device.name)", "hash": "\(key.hash.hex)", "policy": "\(key.policy)"])
            repair(device.id, key.policy, key.hash)
        case .restored(let position):
            logger.error(
                "The audit found a damaged record and wrote it again from the index",
                metadata: ["device": "\(device.name)", "position": "\(position.rawValue)"])
        case .index(let run):
            logger.error(
                "The audit found damage in the index; the next start rebuilds it",
                metadata: ["device": "\(device.name)", "run": "\(run)"])
        }
    }

    /// The state of the thread: where each device is, how far the pass came.
    private struct AuditPass {
        let auditor: Auditor
        let progress: AuditProgress
        private var audits: [(device: Device, audit: DeviceAudit)] = []

        init(_ auditor: Auditor) {
            self.auditor = auditor
            progress = AuditProgress(auditor.control)
        }

        /// Takes in what has come and lets go of what has left; the others go on where they were.
        private mutating func followDevices() {
            audits = auditor.state.withLock { $0.devices }.map { device in
                audits.first { $0.device.log === device.log } ?? (device, audit(of: device))
            }
        }

        private func audit(of device: Device) -> DeviceAudit {
            var pressure = AuditPressure()
            return DeviceAudit(
                device.log,
                advance: { [auditor, progress] count, part in
                    Auditor.giveWay(to: device.log, &pressure, auditor.control)
                    return progress.advance(count, part)
                },
                found: { [auditor] in auditor.found($0, on: device) })
        }

        /// One pass over all devices; false when the process ends.
        mutating func run() -> Bool {
            let control = auditor.control
            followDevices()
            progress.begin(audits.reduce(0) { $0 + ((try? $1.audit.size()) ?? 0) })
            for (device, audit) in audits {
                control.note(activity: "device \(device.name)")
                do {
                    guard try audit.run() else { return false }
                } catch {
                    guard control.step(0) != .stop else { return false }
                    control.note(error: "device \(device.name): \(error)")
                    auditor.logger.error(
                        "The audit of a device was broken off; the next pass goes on there",
                        metadata: ["device": "\(device.name)", "error": "\(error)"])
                }
            }
            control.endPass()
            return true
        }
    }

    private static func giveWay(to log: DeviceLog, _ pressure: inout AuditPressure, _ control: WorkerControl) {
        var waits = 0
        while pressure.isHigh(log.load), waits < longestYield, control.step(0) != .stop {
            usleep(yieldMicroseconds)
            waits += 1
        }
    }
}

/// How far a pass is. Log and index have a known size; bodies come to it as they are met, so the whole is estimated. For one thread.
private final class AuditProgress {
    private let control: WorkerControl
    private var known: Int64 = 0
    private var readOfKnown: Int64 = 0
    private var read: Int64 = 0

    init(_ control: WorkerControl) { self.control = control }

    func begin(_ size: Int64) {
        known = size
        readOfKnown = 0
        read = 0
        control.beginPass(total: size)
    }

    func advance(_ count: Int, _ part: DeviceAudit.Part) -> Bool {
        read += Int64(count)
        if part == .log { readOfKnown += Int64(count) }
        if readOfKnown > 0, read > readOfKnown {
            let share = min(1, Double(readOfKnown) / Double(max(known, 1)))
            control.note(total: max(read, Int64(Double(read) / share)))
        }
        return control.advance(Int64(count))
    }
}
