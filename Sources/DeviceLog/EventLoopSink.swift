package import NIOCore
import Synchronization

/// Hands the writes of a batch that belong to one event loop over to it, all in one turn: there `completed` is called.
package final class EventLoopSink: CompletionSink {
    private let eventLoop: any EventLoop

    package init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    package func deliver(_ finished: [FinishedWrite]) {
        eventLoop.execute {
            for write in finished {
                write.completion.completed(write.outcome)
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
