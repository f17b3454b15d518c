private import Glibc
package import NIOCore

/// Limits and times of a listener and its connections.
package struct HTTPConfiguration: Sendable {
    /// What the parser accepts.
    package var limits = HTTPLimits()
    /// Connections of the listener at one time; one more gets 503 and is closed at once.
    package var connections = 16 * 1024
    /// Connections the kernel keeps waiting for `accept`.
    package var backlog = 1024

    /// From the first byte of a head to its last; then 408.
    package var headTimeout = TimeAmount.seconds(10)
    /// Between two requests.
    package var idleTimeout = TimeAmount.seconds(75)
    /// At a shutdown, from the connection to the first byte of its first request: who has connected may be about to send one, and would take a
    /// connection that is closed then for a failed request.
    package var firstRequestTimeout = TimeAmount.milliseconds(500)
    /// In each period of this length at least `bodyMinimum` bytes of a body must come, unless it is paused; else 408.
    package var bodyTimeout = TimeAmount.seconds(60)
    /// See `bodyTimeout`. One byte is OpenStack Swift's rule (`client_timeout`).
    package var bodyMinimum = 1
    /// How long a client may take nothing of a response that waits for it.
    package var writeTimeout = TimeAmount.seconds(60)
    /// How often the times above are looked at, and so how exact they are.
    package var sweepInterval = TimeAmount.milliseconds(500)

    /// Bytes of an unread request body that are received and dropped after an early answer, to keep the connection
    /// or to let the client read the answer before it closes (RFC 9112 9.6).
    package var drainBytes: Int64 = 1024 * 1024
    /// How long that may take.
    package var drainTimeout = TimeAmount.seconds(3)
    /// Bytes of further requests that are taken from the socket while one is being answered.
    package var pipelineBytes = 64 * 1024

    /// Bytes waiting to be sent from which `HTTPExchange.isWritable` is false.
    package var writeHighWater = 512 * 1024
    /// Bytes waiting to be sent under which it becomes true again.
    package var writeLowWater = 128 * 1024
    /// The largest buffer for one read from a socket.
    package var readBuffer = 256 * 1024

    /// Seconds since 1970, for the `Date` header.
    package var wallClock: @Sendable () -> Int = { time(nil) }

    package init() {}
}
