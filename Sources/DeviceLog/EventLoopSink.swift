package import NIOCore
import Synchronization

/// A write whose outcome comes back on an event loop.
package class EventLoopCompletion: WriteCompletion, @unchecked Sendable {
    // Unchecked: subclasses hold state of their event loop and are touched nowhere else.
    package let sink: any CompletionSink

    package init(sink: EventLoopSink) { self.sink = sink }

    /// On the event loop of the sink.
    package func completed(_ outcome: WriteOutcome) {
        preconditionFailure("a subclass says what follows")
    }
}

/// Hands the writes of a batch that belong to one event loop over to it, all in one turn.
///
/// Only for `EventLoopCompletion`s.
package final class EventLoopSink: CompletionSink {
    private let eventLoop: any EventLoop

    package init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    package func deliver(_ finished: [FinishedWrite]) {
        eventLoop.execute {
            for write in finished {
                unsafeDowncast(write.completion, to: EventLoopCompletion.self).completed(write.outcome)
            }
        }
    }
}

/// The sinks of all event loops that have asked for one.
package final class EventLoopSinks: Sendable {
    private let sinks = Mutex<[ObjectIdentifier: EventLoopSink]>([:])

    package init() {}

    package func sink(for eventLoop: any EventLoop) -> EventLoopSink {
        sinks.withLock { sinks in
            let key = ObjectIdentifier(eventLoop)
            if let sink = sinks[key] { return sink }
            let sink = EventLoopSink(eventLoop: eventLoop)
            sinks[key] = sink
            return sink
        }
    }
}
