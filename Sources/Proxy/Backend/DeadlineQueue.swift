package import NIOCore

/// Calls that end at a deadline, one queue per event loop, swept by one timer: no timer per request.
///
/// Bound to its event loop.
package final class DeadlineQueue {
    /// Something that is told when its time is up. Intrusive, so that entering and leaving allocate nothing.
    package class Entry {
        fileprivate var next: Entry?
        fileprivate unowned(unsafe) var previous: Entry?
        fileprivate var isQueued = false
        package fileprivate(set) var deadline = NIODeadline.distantFuture

        package init() {}

        /// The deadline has passed.
        package func expired() {}
    }

    private var first: Entry?
    private unowned(unsafe) var last: Entry?

    package init() {}

    /// Adds an entry. Deadlines mostly come in order, so the place is sought from the end.
    package func add(_ entry: Entry, deadline: NIODeadline) {
        remove(entry)
        entry.deadline = deadline
        entry.isQueued = true
        var place = last
        while let candidate = place, candidate.deadline > deadline { place = candidate.previous }
        entry.previous = place
        entry.next = place.map(\.next) ?? first
        if let next = entry.next { next.previous = entry } else { last = entry }
        if let place { place.next = entry } else { first = entry }
    }

    package func remove(_ entry: Entry) {
        guard entry.isQueued else { return }
        entry.isQueued = false
        let next = entry.next
        if let next { next.previous = entry.previous } else { last = entry.previous }
        if let previous = entry.previous { previous.next = next } else { first = next }
        entry.next = nil
        entry.previous = nil
    }

    /// Ends every entry whose deadline is not after `now`.
    package func sweep(now: NIODeadline) {
        while let entry = first, entry.deadline <= now {
            remove(entry)
            entry.expired()
        }
    }

    package var isEmpty: Bool { first == nil }
}
