import Logging
import NIOCore

/// What the connections of one event loop share: their table, the sweep that looks after times, the date line, and a
/// buffer for output. Used on that loop only (hence the unchecked conformance).
final class HTTPLoop: @unchecked Sendable {
    /// A larger output buffer is not kept.
    private static let keptScratch = 64 * 1024
    /// Connections that wait for a flush at most, and output buffers that are kept.
    private static let mostUnflushed = 16

    let eventLoop: any EventLoop
    let application: any HTTPApplication
    let configuration: HTTPConfiguration
    let logger: Logger
    /// The time of the last sweep, so that requests need no clock; up to `sweepInterval` old.
    private(set) var now = NIODeadline.uptimeNanoseconds(0)
    /// `Date: ...` with its CRLF, as of the last sweep.
    private(set) var dateLine = ByteBuffer()
    private(set) var isDraining = false

    private var connections: [HTTPConnection] = []
    private var sweeping: RepeatedTask?
    private var dateSecond = Int.min
    private var drained: EventLoopPromise<Void>?
    private var unflushed: [HTTPConnection] = []
    /// Empty but while they are flushed.
    private var flushing: [HTTPConnection] = []
    private var isFlushScheduled = false
    private var scratch: [ByteBuffer] = []

    init(eventLoop: any EventLoop, application: any HTTPApplication, configuration: HTTPConfiguration, logger: Logger) {
        self.eventLoop = eventLoop
        self.application = application
        self.configuration = configuration
        self.logger = logger
    }
}

// MARK: - Connections and time

extension HTTPLoop {
    func add(_ connection: HTTPConnection) {
        connection.tableIndex = connections.count
        connections.append(connection)
        if sweeping == nil { startSweeping() }
    }

    func remove(_ connection: HTTPConnection) {
        let index = connection.tableIndex
        guard index >= 0 else { return }
        connection.tableIndex = -1
        let last = connections.removeLast()
        if last !== connection {
            connections[index] = last
            last.tableIndex = index
        }
        if connections.isEmpty {
            sweeping?.cancel()
            sweeping = nil
            drained?.succeed()
            drained = nil
        }
    }

    /// Brings time and date up to date; before the first connection is served, and then by each sweep.
    func updateTime() {
        now = eventLoop.now
        let second = configuration.wallClock()
        guard second != dateSecond else { return }
        dateSecond = second
        var line = ByteBuffer()
        line.reserveCapacity(40)
        line.writeStaticString("Date: ")
        line.writeHTTPDate(second)
        line.writeCRLF()
        dateLine = line
    }

    private func startSweeping() {
        updateTime()
        let interval = configuration.sweepInterval
        sweeping = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
            self?.sweep()
        }
    }

    private func sweep() {
        updateTime()
        forEachConnection { $0.sweep() }
    }

    /// Backwards: a connection that goes away meanwhile is replaced by one that was visited before.
    private func forEachConnection(_ body: (HTTPConnection) -> Void) {
        var index = connections.count
        while index > 0 {
            index = min(index, connections.count) - 1
            if index >= 0 { body(connections[index]) }
        }
    }
}

// MARK: - Shutdown

extension HTTPLoop {
    /// Idle connections go at once, others after their request, the rest when the deadline has passed.
    func drain(within deadline: TimeAmount) -> EventLoopFuture<Void> {
        eventLoop.flatSubmit { [self] in
            isDraining = true
            forEachConnection { $0.drain() }
            guard !connections.isEmpty else { return eventLoop.makeSucceededVoidFuture() }
            if let drained { return drained.futureResult }
            let promise = eventLoop.makePromise(of: Void.self)
            drained = promise
            let cut = eventLoop.scheduleTask(in: deadline) { [self] in
                logger.info("connections cut at shutdown", metadata: ["count": "\(connections.count)"])
                forEachConnection { $0.cut(.shutdown) }
            }
            promise.futureResult.whenComplete { _ in cut.cancel() }
            return promise.futureResult
        }
    }
}

// MARK: - Output

extension HTTPLoop {
    /// Flushes the connection at the end of this turn of the loop, together with others, or earlier when many wait for that.
    func flushLater(_ connection: HTTPConnection) {
        unflushed.append(connection)
        // What a flush makes others write waits for the end of the turn.
        if unflushed.count >= Self.mostUnflushed, flushing.isEmpty { return flushAll() }
        guard !isFlushScheduled else { return }
        isFlushScheduled = true
        eventLoop.assumeIsolated().execute { [self] in
            isFlushScheduled = false
            flushAll()
        }
    }

    private func flushAll() {
        swap(&unflushed, &flushing)
        for connection in flushing { connection.flushScheduled() }
        flushing.removeAll(keepingCapacity: true)
    }

    /// An empty buffer to write a response into; give it back after the flush.
    func takeScratch() -> ByteBuffer {
        var taken = scratch.popLast() ?? ByteBuffer()
        taken.clear(minimumCapacity: 1024)
        return taken
    }

    /// Keeps the buffer for the next response. While the socket still holds on to it, it is left alone then.
    func giveBack(_ buffer: ByteBuffer) {
        if buffer.capacity <= Self.keptScratch, scratch.count < Self.mostUnflushed { scratch.append(buffer) }
    }
}
