/// One background worker of a node as operators see it.
package struct WorkerReport: Equatable, Sendable {
    package var name: String
    /// "idle", "running", "paused" or "stopped".
    package var state: String
    /// A few words, or empty.
    package var activity: String
    /// What is counted: "bytes", "objects" or "partitions".
    package var unit: String
    /// Units of the pass under way, or of the last one.
    package var done: Int64
    /// Units that the pass will have; nil when not known.
    package var total: Int64?
    /// Units per second over the last seconds.
    package var rate: Int64
    package var errors: Int64
    /// The newest error, or empty.
    package var lastError: String
    /// Units per second that are allowed; 0: no limit.
    package var pace: Int64
    /// When the last complete pass ended, in seconds since 1970; nil when none did since the start.
    package var lastPass: Int64?

    package init(
        name: String, state: String, activity: String, unit: String, done: Int64, total: Int64?, rate: Int64,
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
}

/// Holds a background worker, lets it go on, or changes how fast it may be. Answered by `workers` with that one.
package struct SetWorker: Equatable, Sendable {
    package enum Change: Equatable, Sendable {
        case pause
        case resume
        /// Units per second; 0: no limit.
        case pace(Int64)
    }

    package var name: String
    package var change: Change

    package init(name: String, change: Change) {
        self.name = name
        self.change = change
    }
}
