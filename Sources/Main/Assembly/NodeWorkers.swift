import Daemon
import NIOCore
import NIOPosix
import StorageWire

/// The background workers of this process, as messages ask for them.
final class NodeWorkers: Sendable {
    let registry: WorkerRegistry
    private let threads: NIOThreadPool

    /// - Parameter threads: a change waits for the disk there.
    init(_ registry: WorkerRegistry, threads: NIOThreadPool) {
        self.registry = registry
        self.threads = threads
    }

    func list(_ call: ServerCall) {
        call.reply(.workers(registry.statuses.map(WorkerReport.init)))
    }

    func set(_ message: SetWorker, _ call: ServerCall) {
        threads.submit { [registry] _ in
            let change: WorkerChange =
                switch message.change {
                case .pause: .pause
                case .resume: .resume
                case .pace(let pace): .pace(pace)
                }
            let reply: StorageReply
            do throws(WorkerRegistryError) {
                reply = .workers([WorkerReport(try registry.change(message.name, change))])
            } catch {
                switch error {
                case .unknown, .negativePace: reply = .failed(StorageFailure(.malformed, "\(error)"))
                case .notStored: reply = .failed(StorageFailure(.io, "\(error)"))
                }
            }
            call.eventLoop.execute { call.reply(reply) }
        }
    }
}

extension WorkerReport {
    fileprivate init(_ status: WorkerStatus) {
        self.init(
            name: status.name, state: status.state.rawValue, activity: status.activity, unit: status.unit.rawValue,
            done: status.done, total: status.total, rate: Int64(status.rate), errors: status.errors,
            lastError: status.lastError, pace: status.pace, lastPass: status.lastPass)
    }
}
