package import NIOCore
package import NIOPosix
package import StorageWire

/// What the operations of one event loop share: the cluster, clocks and the deadlines of calls under way.
package final class ProxyLoop {
    package let eventLoop: any EventLoop
    /// As it is now. An operation takes it once and works with the same rings to its end.
    package var cluster: Cluster
    package let timestamps: TimestampSource
    /// Where bodies are hashed.
    package let workers: NIOThreadPool
    package let deadlines = DeadlineQueue()
    package let limits: StoreLimits
    /// Of the objects' replicas, and of those of containers and accounts; pages of listings apart, which take longer.
    package var objectTimes = ResponseTimes()
    package var tableTimes = ResponseTimes()
    package var listingTimes = ResponseTimes()
    /// Reads that another replica joins when they take too long.
    private let impatient = DeadlineQueue()
    private var isWatchingPatience = false
    /// Large bodies that stream in.
    var uploads: UploadWindows
    private var sweeper: RepeatedTask?

    package init(
        eventLoop: any EventLoop, cluster: Cluster, timestamps: TimestampSource, workers: NIOThreadPool,
        limits: StoreLimits
    ) {
        self.eventLoop = eventLoop
        self.cluster = cluster
        self.timestamps = timestamps
        self.workers = workers
        self.limits = limits
        uploads = UploadWindows(limits)
    }

    /// Begins to watch deadlines. On the event loop.
    package func start() {
        sweeper = eventLoop.scheduleRepeatedTask(initialDelay: limits.sweepInterval, delay: limits.sweepInterval) {
            [bound = NIOLoopBound(self, eventLoop: eventLoop)] _ in
            bound.value.deadlines.sweep(now: .now())
        }
    }

    /// Has `entry` told, by `expired`, when `time` has passed: it may be told up to `StoreLimits.patienceInterval` later.
    package func watch(_ entry: DeadlineQueue.Entry, for time: TimeAmount) {
        impatient.add(entry, deadline: .now() + time)
        watchPatience()
    }

    package func unwatch(_ entry: DeadlineQueue.Entry) { impatient.remove(entry) }

    /// A timer only while somebody waits.
    private func watchPatience() {
        guard !isWatchingPatience, !impatient.isEmpty else { return }
        isWatchingPatience = true
        eventLoop.assumeIsolated().scheduleTask(in: limits.patienceInterval) { [self] in
            isWatchingPatience = false
            impatient.sweep(now: .now())
            watchPatience()
        }
    }

    package func stop() {
        sweeper?.cancel()
        sweeper = nil
    }
}

/// Times and sizes that bound the work of the proxy.
package struct StoreLimits: Sendable {
    /// A body of at most this travels in one message and is packed into the log.
    package var inlineBody = 256 << 10
    /// Bytes of one upload that are received and not yet taken by the replicas; past it the client is not read.
    package var uploadWindow = 2 << 20
    /// The windows of all uploads of an event loop share this, down to a piece and a half each.
    package var uploadMemory = 24 << 20
    /// Bytes that go to the replicas at once; what a device writes at once. At most half of the window.
    package var uploadPiece = 508 << 10
    /// A replica that takes nothing for so long, while the others have all there is, is left out of the upload.
    package var uploadStall = TimeAmount.seconds(2)
    /// Bytes of one download that are asked for ahead of the client.
    package var downloadWindow = 1 << 20
    /// For a small write to be durable.
    package var writeTimeout = TimeAmount.seconds(10)
    /// For the commit of a large upload, whose bytes have to reach the disk first.
    package var commitTimeout = TimeAmount.seconds(60)
    package var readTimeout = TimeAmount.seconds(5)
    package var sweepInterval = TimeAmount.milliseconds(100)
    /// How often reads that wait for a late replica are looked at.
    package var patienceInterval = TimeAmount.milliseconds(10)
    /// Rounds of a write that keeps meeting newer timestamps.
    package var maximumWriteRounds = 8

    package init() {}
}
