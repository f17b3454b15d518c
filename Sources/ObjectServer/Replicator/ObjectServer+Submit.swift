import DeviceLog
import NIOCore

extension ObjectServer {
    /// Has a device write something; what became of it is told on the event loop.
    func submit(
        _ write: Write, to log: DeviceLog, on eventLoop: any EventLoop,
        whenCompleted: @escaping (WriteOutcome) -> Void
    ) {
        log.submit(write, completion: WriteCallback(sink: sinks.sink(for: eventLoop), whenCompleted: whenCompleted))
    }
}

/// Unchecked: heard of on the event loop of its sink.
private final class WriteCallback: WriteCompletion, @unchecked Sendable {
    let sink: any CompletionSink
    private let whenCompleted: (WriteOutcome) -> Void

    init(sink: EventLoopSink, whenCompleted: @escaping (WriteOutcome) -> Void) {
        self.sink = sink
        self.whenCompleted = whenCompleted
    }

    func completed(_ outcome: WriteOutcome) { whenCompleted(outcome) }
}
