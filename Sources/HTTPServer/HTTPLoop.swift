import Logging
import NIOCore

/// What the connections of one event loop share. Used on that loop only (hence the unchecked conformance).
final class HTTPLoop: @unchecked Sendable {
    let eventLoop: any EventLoop
    let application: any HTTPApplication
    let configuration: HTTPConfiguration
    let logger: Logger

    init(eventLoop: any EventLoop, application: any HTTPApplication, configuration: HTTPConfiguration, logger: Logger) {
        self.eventLoop = eventLoop
        self.application = application
        self.configuration = configuration
        self.logger = logger
    }

    func drain(within deadline: TimeAmount) -> EventLoopFuture<Void> {
        eventLoop.makeSucceededVoidFuture()
    }
}
