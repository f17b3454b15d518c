internal import Synchronization

/// What the commit stream works on.
enum Operation: Sendable {
    case write(Write)
    /// Compaction: copy the record to the head, if it still counts.
    case relocate(RecordHeader)
    /// The bytes of this record are damaged; note it, if it is still the newest.
    case quarantine(ObjectKey, RecordLocation)
    /// The bytes of this record are damaged, but the index holds all that it says: write it again.
    case restate(LogReference, RecordLocation)
    /// Drop an eviction of this time, if the object has no record in a segment as old as the eviction's: all before `before` are gone.
    case forget(ObjectKey, timestamp: UInt64, before: UInt32)
    /// Does nothing; ends when everything before it has.
    case wake
    /// Differences that no record tells are settled by a full comparison with the other replicas.
    case forgetLosses
}

/// An operation and who waits for it.
struct QueuedOperation: Sendable {
    var operation: Operation
    var completion: (any WriteCompletion)?
    /// Bytes that it holds.
    var size: Int

    var isWrite: Bool { if case .write = operation { true } else { false } }
}

/// Operations waiting for the commit stream.
final class WriteQueue: Sendable {
    private struct State {
        var operations: [QueuedOperation] = []
        var bytes = 0
        var isClosed = false
        var isIdle = false
    }

    private let maximumWrites: Int
    private let maximumBytes: Int
    private let state = Mutex(State())
    private let signal = Signal()

    init(maximumWrites: Int, maximumBytes: Int) {
        self.maximumWrites = maximumWrites
        self.maximumBytes = maximumBytes
    }

    var count: Int { state.withLock { $0.operations.count } }

    /// Nil when it was taken, otherwise why not. Internal operations have no limit: their callers pace themselves.
    func append(_ operation: consuming QueuedOperation, limited: Bool = true) -> DeviceLogError? {
        let queued = operation
        let (error, wake): (DeviceLogError?, Bool) = state.withLock { state in
            if state.isClosed { return (.closed, false) }
            if limited, state.operations.count >= maximumWrites || state.bytes + queued.size > maximumBytes {
                // A single large write must get through when nothing else waits.
                if !state.operations.isEmpty { return (.busy, false) }
            }
            state.bytes += queued.size
            state.operations.append(queued)
            defer { state.isIdle = false }
            return (nil, state.isIdle)
        }
        if wake { signal.raise() }
        return error
    }

    /// All that waits, in order; leaves the emptied `spare` array in its place.
    func take(into spare: inout [QueuedOperation]) {
        state.withLock { state in
            swap(&state.operations, &spare)
            state.bytes = 0
        }
    }

    /// Blocks until something waits; false once the queue is closed and empty.
    func wait() -> Bool {
        while true {
            let (ready, closed) = state.withLock { state in
                state.isIdle = state.operations.isEmpty
                return (!state.operations.isEmpty, state.isClosed)
            }
            if ready { return true }
            if closed { return false }
            signal.wait()
        }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        signal.raise()
    }
}
