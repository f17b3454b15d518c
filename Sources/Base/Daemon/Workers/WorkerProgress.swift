/// What a worker that did something has to do next.
package enum WorkerStep: Equatable, Sendable {
    case proceed
    /// Ask again after so many nanoseconds, with nothing done.
    case wait(nanoseconds: UInt64)
    /// Held by an operator: ask again later, with nothing done.
    case paused
    case stop
}

/// The rules of a worker without a clock: passes, pace, pause, rate.
struct WorkerProgress: Sendable {
    /// What was not used of the pace counts for so long: a worker that was held up may catch up a little.
    private static let burst: UInt64 = 100_000_000

    var settings: WorkerSettings
    private(set) var isStopped = false
    private(set) var isInPass = false
    var activity = ""
    private(set) var done: Int64 = 0
    private(set) var total: Int64?
    /// Over all passes.
    private(set) var doneTotal: Int64 = 0
    private(set) var errors: Int64 = 0
    private(set) var lastError = ""
    private(set) var lastPass: Int64?
    /// Changes by the operator up to the end of the last pass: those do not begin another one.
    var changesSeen: UInt64 = 0
    private var meter = RateMeter()
    /// Before it nothing more may be done.
    private var due: UInt64 = 0

    init(settings: WorkerSettings) { self.settings = settings }

    var state: WorkerState {
        if isStopped { return .stopped }
        if settings.isPaused { return .paused }
        return isInPass ? .running : .idle
    }

    mutating func beginPass(total: Int64?, now: UInt64) {
        isInPass = true
        done = 0
        self.total = total
        meter = RateMeter()
        meter.note(doneTotal, now: now)
    }

    mutating func endPass(at time: Int64) {
        isInPass = false
        total = done
        activity = ""
        lastPass = time
    }

    mutating func note(total: Int64) { self.total = total }

    mutating func note(error: String) {
        errors += 1
        lastError = error
    }

    mutating func stop() { isStopped = true }

    mutating func change(to settings: WorkerSettings, now: UInt64) {
        // What was owed at another pace is forgotten.
        if settings.pace != self.settings.pace { due = now }
        self.settings = settings
    }

    /// Notes that `amount` more is done.
    mutating func step(_ amount: Int64, now: UInt64) -> WorkerStep {
        done += amount
        doneTotal += amount
        meter.note(doneTotal, now: now)
        if isStopped { return .stop }
        if settings.pace > 0, amount > 0 {
            let cost = Double(amount) / Double(settings.pace) * 1e9
            due = max(due, now - min(now, Self.burst)) + UInt64(cost)
        }
        if settings.isPaused { return .paused }
        return settings.pace > 0 && due > now ? .wait(nanoseconds: due - now) : .proceed
    }

    func rate(now: UInt64) -> Double { isInPass ? meter.rate(doneTotal, now: now) : 0 }
}

/// Units per second over the last seconds.
private struct RateMeter: Sendable {
    private static let interval: UInt64 = 500_000_000
    private static let samples = 10

    /// The oldest first.
    private var samples: [(time: UInt64, done: Int64)] = []

    mutating func note(_ done: Int64, now: UInt64) {
        if let last = samples.last, now < last.time + Self.interval { return }
        samples.append((now, done))
        if samples.count > Self.samples { samples.removeFirst() }
    }

    func rate(_ done: Int64, now: UInt64) -> Double {
        guard let first = samples.first, now > first.time else { return 0 }
        return Double(done - first.done) / (Double(now - first.time) / 1e9)
    }
}
