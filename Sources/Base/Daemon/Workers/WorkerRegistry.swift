import Synchronization

/// What an operator asks of a worker.
package enum WorkerChange: Equatable, Sendable {
    case pause
    case resume
    /// Units per second; 0: no limit.
    case pace(Int64)
}

/// Why a worker was not changed.
package enum WorkerRegistryError: Error, Equatable, CustomStringConvertible {
    case unknown(name: String, known: [String])
    case negativePace
    /// The change could not be stored, so it was not made.
    case notStored(reason: String)

    package var description: String {
        switch self {
        case .unknown(let name, let known):
            "there is no worker \(name); there are: \(known.joined(separator: ", "))"
        case .negativePace: "a pace is a number of units per second, or 0 for no limit"
        case .notStored(let reason): "the change could not be stored and was not made: \(reason)"
        }
    }
}

/// All background workers of a process, by name.
package final class WorkerRegistry: Sendable {
    private struct State {
        var workers: [String: WorkerControl] = [:]
        /// Also of workers that this process does not have.
        var settings: [String: KeptWorkerSettings]
    }

    private let state: Mutex<State>
    private let store: @Sendable ([String: KeptWorkerSettings]) throws -> Void

    /// - Parameters:
    ///   - settings: what operators changed in the life of earlier processes.
    ///   - store: makes all that operators changed durable, before it takes effect.
    package init(
        settings: [String: KeptWorkerSettings] = [:],
        store: @escaping @Sendable ([String: KeptWorkerSettings]) throws -> Void = { _ in }
    ) {
        state = Mutex(State(settings: settings))
        self.store = store
    }

    /// Takes a worker in, with the settings that it had. One of the same name is replaced.
    package func add(_ worker: WorkerControl) {
        let settings = state.withLock { state in
            state.workers[worker.name] = worker
            return state.settings[worker.name]
        }
        guard let settings else { return }
        worker.restore(WorkerSettings(isPaused: settings.isPaused, pace: settings.pace ?? worker.settings.pace))
    }

    /// Ends a worker and lets it go, unless another one has its name now.
    package func remove(_ worker: WorkerControl) {
        worker.stop()
        state.withLock { state in
            if state.workers[worker.name] === worker { state.workers[worker.name] = nil }
        }
    }

    /// In the order of their names.
    package var statuses: [WorkerStatus] { all.map(\.status) }

    /// Blocks until the change is durable; it then holds for this process and the next ones.
    @discardableResult
    package func change(_ name: String, _ change: WorkerChange) throws(WorkerRegistryError) -> WorkerStatus {
        let result: Result<WorkerControl, WorkerRegistryError> = state.withLock { state in
            guard let worker = state.workers[name] else {
                return .failure(.unknown(name: name, known: state.workers.keys.sorted()))
            }
            var kept = state.settings[name] ?? KeptWorkerSettings(isPaused: false, pace: nil)
            switch change {
            case .pause: kept.isPaused = true
            case .resume: kept.isPaused = false
            case .pace(let pace):
                guard pace >= 0 else { return .failure(.negativePace) }
                kept.pace = pace
            }
            var all = state.settings
            all[name] = kept
            do { try store(all) } catch { return .failure(.notStored(reason: "\(error)")) }
            state.settings = all
            worker.change(
                to: WorkerSettings(isPaused: kept.isPaused, pace: kept.pace ?? worker.settings.pace))
            return .success(worker)
        }
        return try result.get().status
    }

    /// Ends all of them; see `WorkerControl.stop`.
    package func stop() {
        for worker in all { worker.stop() }
    }

    /// Adds the series of all workers that are there.
    package func register(on metrics: MetricsRegistry) throws(MetricsError) {
        for worker in all {
            let labels = [("worker", worker.name)]
            try metrics.counter(
                "ringfort_worker_done_total", "Units of work done: bytes, objects or partitions", labels: labels
            ) { Double(worker.doneTotal) }
            try metrics.counter("ringfort_worker_errors_total", "Errors that workers met", labels: labels) {
                Double(worker.status.errors)
            }
            try metrics.gauge("ringfort_worker_paused", "1 while an operator holds the worker", labels: labels) {
                worker.settings.isPaused ? 1 : 0
            }
            try metrics.gauge(
                "ringfort_worker_rate", "Units of work per second over the last seconds", labels: labels
            ) { worker.status.rate }
        }
    }

    private var all: [WorkerControl] {
        state.withLock { $0.workers.values.sorted { $0.name < $1.name } }
    }
}
