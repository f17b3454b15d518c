import CKernel
import Daemon
import Glibc
import Logging
import NIOCore
import NIOConcurrencyHelpers
import NIOPosix
import Ring
import StorageWire
import Synchronization

/// What every serving process has: event loops, workers, log, metrics, the lock on its directory, and an orderly end.
final class ServerProcess {
    let group: MultiThreadedEventLoopGroup
    let workers: NIOThreadPool
    let registry = MetricsRegistry()
    let log: StructuredLog
    let logger: Logger
    private let lock: DirectoryLock

    /// Threads for work that may block: cold reads, bytes of large bodies, hashes.
    private static let workerThreads = 8

    /// - Parameter directory: only one process at a time may serve from it.
    init(directory: ClusterDirectory, log: StructuredLog) throws {
        try ClusterDirectory.makeDirectory(directory.path)
        do { lock = try DirectoryLock(directory: directory.path) } catch { throw CommandError("\(error)") }
        self.log = log
        logger = Logger(label: "ringfort", factory: log.handler)
        group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        workers = NIOThreadPool(numberOfThreads: Self.workerThreads)
        workers.start()
        Self.tuneAllocator()
        try ProcessUsage.register(on: registry)
        Self.raiseDescriptorLimit()
    }

    /// Returns when SIGTERM or SIGINT asks to stop.
    func waitForStop() throws {
        let stop = StopSignal()
        let waiter = try SignalWaiter { request in
            switch request {
            case .stop: stop.set()
            // Users are noticed when their file changes; rings are read at the start.
            case .reload: break
            case .exit(let code): _exit(code)
            }
        }
        stop.wait()
        withExtendedLifetime(waiter) {}
    }

    func end() {
        try? workers.syncShutdownGracefully()
        try? group.syncShutdownGracefully()
        log.drain()
    }

    /// Buffers of requests come and go by the thousand: giving their pages back each time and faulting them in again costs more than
    /// the requests themselves.
    private static func tuneAllocator() {
        kernel_keep_memory( /* largestPooled: */4 << 20, /* keptFree: */ 32 << 20, /* arenas: */ 4)
    }

    /// A connection is a descriptor, and so is an open body.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// Set once, from the thread that waits for signals.
private final class StopSignal: Sendable {
    private let condition = ConditionLock(value: false)

    func set() {
        condition.lock()
        condition.unlock(withValue: true)
    }

    func wait() {
        condition.lock(whenValue: true)
        condition.unlock()
    }
}
