/// What a worker counts.
package enum WorkerUnit: String, Sendable, CaseIterable {
    case bytes, objects, partitions
}

/// What a worker is doing at a moment.
package enum WorkerState: String, Sendable, CaseIterable {
    /// Between two passes.
    case idle
    case running
    /// An operator holds it.
    case paused
    /// The process ends.
    case stopped
}

/// One background worker as operators see it.
package struct WorkerStatus: Equatable, Sendable {
    package var name: String
    package var state: WorkerState
    /// A few words, such as the device that is being read; empty when there is nothing to say.
    package var activity: String
    package var unit: WorkerUnit
    /// Units of this pass, or of the last one when idle.
    package var done: Int64
    /// Units that the pass will have in all; nil when not known.
    package var total: Int64?
    /// Units per second over the last seconds.
    package var rate: Double
    /// Errors since the start of the process.
    package var errors: Int64
    /// The newest of them, empty when there was none.
    package var lastError: String
    /// Units per second that it may do at most; 0: as many as it can.
    package var pace: Int64
    /// When the last complete pass ended, in seconds since 1970; nil when none did since the start of the process.
    package var lastPass: Int64?

    package init(
        name: String, state: WorkerState, activity: String, unit: WorkerUnit, done: Int64, total: Int64?, rate: Double,
        errors: Int64, lastError: String, pace: Int64, lastPass: Int64?
    ) {
        self.name = name
        self.state = state
        self.activity = activity
        self.unit = unit
        self.done = done
        self.total = total
        self.rate = rate
        self.errors = errors
        self.lastError = lastError
        self.pace = pace
        self.lastPass = lastPass
    }

    /// Until the pass is over at this rate; nil when that cannot be told.
    package var secondsLeft: Int64? {
        guard state == .running, let total, rate > 0 else { return nil }
        return Int64((Double(max(0, total - done)) / rate).rounded(.up))
    }
}

/// What an operator changed, which outlives the process.
package struct KeptWorkerSettings: Equatable, Sendable {
    package var isPaused: Bool
    /// Nil: the worker's own.
    package var pace: Int64?

    package init(isPaused: Bool, pace: Int64?) {
        self.isPaused = isPaused
        self.pace = pace
    }
}

/// What an operator can change.
package struct WorkerSettings: Equatable, Sendable {
    package var isPaused: Bool
    /// Units per second; 0: no limit.
    package var pace: Int64

    package init(isPaused: Bool, pace: Int64) {
        self.isPaused = isPaused
        self.pace = pace
    }
}
