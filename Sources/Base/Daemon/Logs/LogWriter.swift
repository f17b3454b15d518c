import Glibc
import Synchronization

/// A bounded queue of log lines and the thread that writes them out, so that a slow terminal or pipe never holds up a request.
///
/// When the queue is full, lines are dropped and counted, and the writer says how many as soon as there is room again.
package final class LogWriter: Sendable {
    /// Bytes that may wait; about ten thousand lines.
    package static let defaultLimit = 1 << 20

    private struct Queue {
        var waiting: [UInt8] = []
        var isWriting = false
        var dropped: UInt64 = 0
        var droppedEver: UInt64 = 0
    }

    private let queue = Mutex(Queue())
    private let limit: Int
    private let signal: Semaphore
    private let droppedLine: @Sendable (UInt64) -> [UInt8]

    /// - Parameters:
    ///   - descriptor: where lines go; it stays open as long as the process.
    ///   - limit: bytes that may wait before lines are dropped.
    ///   - droppedLine: the line that says how many were dropped.
    package init(
        descriptor: Int32 = STDERR_FILENO, limit: Int = LogWriter.defaultLimit,
        droppedLine: @escaping @Sendable (UInt64) -> [UInt8]
    ) throws(FileError) {
        self.limit = limit
        self.droppedLine = droppedLine
        signal = Semaphore()
        // The thread lives as long as the process: logging ends last.
        _ = try ServiceThread(named: "log") { [self] in writeForever(descriptor) }
    }

    /// Takes a whole line, or drops it when the queue is full. Never waits for the descriptor.
    package func append(_ line: [UInt8]) {
        let wake = queue.withLock { queue in
            guard queue.waiting.count + line.count <= limit else {
                queue.dropped += 1
                queue.droppedEver += 1
                return false
            }
            queue.waiting += line
            return queue.waiting.count == line.count
        }
        if wake { signal.post() }
    }

    /// Lines dropped since the start, for metrics.
    package var dropped: UInt64 { queue.withLock { $0.droppedEver } }

    /// Waits until everything taken so far is written, at most `milliseconds`; false when that was not enough.
    @discardableResult
    package func drain(milliseconds: Int) -> Bool {
        for _ in 0..<max(1, milliseconds) {
            if queue.withLock({ $0.waiting.isEmpty && !$0.isWriting && $0.dropped == 0 }) { return true }
            usleep(1000)
        }
        return false
    }

    private func writeForever(_ descriptor: Int32) {
        while true {
            signal.wait()
            while let batch = takeBatch() { Self.write(batch, to: descriptor) }
        }
    }

    private func takeBatch() -> [UInt8]? {
        queue.withLock { queue in
            var batch: [UInt8] = []
            swap(&batch, &queue.waiting)
            if queue.dropped > 0 {
                batch += droppedLine(queue.dropped)
                queue.dropped = 0
            }
            queue.isWriting = !batch.isEmpty
            return batch.isEmpty ? nil : batch
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
            if count >= 0 {
                written += count
            } else if errno == EAGAIN {
                // Somebody shares the terminal with us and made it non-blocking.
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, 1000)
            } else if errno != EINTR {
                // The reader is gone; there is nobody left to tell.
                return
            }
        }
    }
}

/// A POSIX semaphore (sem_overview(7)).
private final class Semaphore: @unchecked Sendable {
    // The kernel's object is made for many threads; its memory stays in place until deinit.
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func post() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 {} }
}
