import Synchronization

/// One background worker, between the worker itself and the operator: what it does, how fast it may, whether it is held.
///
/// On a thread of its own a worker reads:
///
///     while control.rest(seconds: 600) {
///         control.beginPass(total: bytes)
///         for piece in pieces {
///             work(piece)
///             guard control.advance(piece.count) else { return }
///         }
///         control.endPass()
///     }
///
/// On an event loop it calls `step` instead of `advance`, and asks again when that says so.
package final class WorkerControl: Sendable {
    package let name: String
    package let unit: WorkerUnit
    private let clock: MonotonicClock
    private let wallClock: WallClock
    private let progress: Mutex<WorkerProgress>
    private let wakeup = Wakeup()

    /// Longest text of an error or an activity that is kept, in characters.
    private static let maximumText = 240

    /// - Parameter pace: units per second until somebody says otherwise; 0: no limit.
    package init(
        name: String, unit: WorkerUnit, pace: Int64 = 0, clock: MonotonicClock = .system,
        wallClock: WallClock = .system
    ) {
        self.name = name
        self.unit = unit
        self.clock = clock
        self.wallClock = wallClock
        progress = Mutex(WorkerProgress(settings: WorkerSettings(isPaused: false, pace: pace)))
    }

    // MARK: For the operator

    package var status: WorkerStatus {
        let now = clock.nanoseconds
        return progress.withLock { progress in
            WorkerStatus(
                name: name, state: progress.state, activity: progress.activity, unit: unit, done: progress.done,
                total: progress.total, rate: progress.rate(now: now), errors: progress.errors,
                lastError: progress.lastError, pace: progress.settings.pace, lastPass: progress.lastPass)
        }
    }

    package var settings: WorkerSettings { progress.withLock { $0.settings } }

    /// Takes effect at the worker's next step. A worker that rests between two passes begins the next one.
    package func change(to settings: WorkerSettings) {
        let now = clock.nanoseconds
        progress.withLock { $0.change(to: settings, now: now) }
        wakeup.change()
    }

    /// Settings of an earlier process: no change that begins a pass.
    func restore(_ settings: WorkerSettings) {
        change(to: settings)
        noteChanges()
    }

    package func pause() {
        var settings = settings
        settings.isPaused = true
        change(to: settings)
    }

    package func resume() {
        var settings = settings
        settings.isPaused = false
        change(to: settings)
    }

    /// - Parameter pace: units per second; 0: no limit.
    package func setPace(_ pace: Int64) {
        var settings = settings
        settings.pace = pace
        change(to: settings)
    }

    /// For good: the process ends. Whoever waits in `advance` or `rest` returns at once.
    package func stop() {
        progress.withLock { $0.stop() }
        wakeup.change()
    }

    /// Units done since the start of the process.
    var doneTotal: Int64 { progress.withLock { $0.doneTotal } }

    // MARK: For the worker

    /// - Parameter total: units of this pass; nil when not known.
    package func beginPass(total: Int64?) {
        let now = clock.nanoseconds
        progress.withLock { $0.beginPass(total: total, now: now) }
    }

    /// A better estimate of the units of this pass.
    package func note(total: Int64) {
        progress.withLock { $0.note(total: total) }
    }

    /// The pass is complete; one that was broken off does not call it.
    package func endPass() {
        let time = wallClock.seconds
        progress.withLock { $0.endPass(at: time) }
        noteChanges()
    }

    private func noteChanges() {
        let changes = wakeup.changes
        progress.withLock { $0.changesSeen = changes }
    }

    /// What it is doing, in a few words.
    package func note(activity: String) {
        progress.withLock { $0.activity = String(activity.prefix(Self.maximumText)) }
    }

    package func note(error: String) {
        progress.withLock { $0.note(error: String(error.prefix(Self.maximumText))) }
    }

    /// Notes that `amount` more is done, and tells what comes next. Never blocks.
    package func step(_ amount: Int64) -> WorkerStep {
        let now = clock.nanoseconds
        return progress.withLock { $0.step(amount, now: now) }
    }

    /// As `step`, for a thread: blocks as long as pace and pause demand. False: return, the process ends.
    ///
    /// - Parameter isHurried: the pace does not count now, a pause still does.
    package func advance(_ amount: Int64, isHurried: Bool = false) -> Bool {
        var amount = amount
        while true {
            let seen = wakeup.changes
            let step = step(amount)
            amount = 0
            switch step {
            case .proceed: return true
            case .stop: return false
            case .paused: wakeup.wait(after: seen, nanoseconds: nil)
            case .wait where isHurried: return true
            case .wait(let nanoseconds): wakeup.wait(after: seen, nanoseconds: nanoseconds)
            }
        }
    }

    /// Blocks between two passes: until the time has passed or the operator has changed something since the last one, and while the
    /// worker is paused. False: return.
    package func rest(seconds: UInt64) -> Bool {
        let seen = progress.withLock { $0.changesSeen }
        guard step(0) != .stop else { return false }
        wakeup.wait(after: seen, nanoseconds: seconds * 1_000_000_000)
        noteChanges()
        return advance(0)
    }
}
