internal import Synchronization

/// Object writes whose container rows are not yet known to be durable, by log position.
final class Unconfirmed: Sendable {
    private struct State {
        /// Ascending; confirmed ones leave at the front.
        var entries: [(position: LogPosition, isConfirmed: Bool)] = []
        var first = 0
        var open = 0
        /// Set when there were too many to remember: everything from here on stays unconfirmed until the next start.
        var floor: LogPosition?
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) {
        self.limit = limit
    }

    var count: Int { state.withLock { $0.open } }

    /// The oldest write that is not confirmed.
    var oldest: LogPosition? {
        state.withLock { $0.floor ?? ($0.first < $0.entries.count ? $0.entries[$0.first].position : nil) }
    }

    /// Remembers writes, in ascending order of their positions.
    func add(_ positions: [LogPosition]) {
        guard !positions.isEmpty else { return }
        state.withLock { state in
            for position in positions { state.entries.append((position, false)) }
            state.open += positions.count
            guard state.entries.count - state.first > limit else { return }
            state.floor = state.floor ?? state.entries[state.first].position
            let dropped = (state.entries.count - state.first) / 2
            for index in state.first..<state.first + dropped where !state.entries[index].isConfirmed {
                state.open -= 1
            }
            state.entries.removeSubrange(..<(state.first + dropped))
            state.first = 0
        }
    }

    func confirm(_ position: LogPosition) {
        state.withLock { state in
            var low = state.first
            var high = state.entries.count
            while low < high {
                let middle = (low + high) / 2
                if state.entries[middle].position < position { low = middle + 1 } else { high = middle }
            }
            guard low < state.entries.count, state.entries[low].position == position,
                !state.entries[low].isConfirmed
            else { return }
            state.entries[low].isConfirmed = true
            state.open -= 1
            while state.first < state.entries.count, state.entries[state.first].isConfirmed { state.first += 1 }
            if state.first > 1024, state.first * 2 > state.entries.count {
                state.entries.removeSubrange(..<state.first)
                state.first = 0
            }
        }
    }
}
