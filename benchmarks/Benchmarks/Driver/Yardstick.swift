import CCrypto
import Daemon
import DeviceLog
import Glibc

/// What the machine can do, without any of our code: the unit in which benchmarks are judged.
enum Yardstick: String, Hashable, Sendable, CaseIterable {
    /// MD5 of 1 KiB, as a part of 1 MiB: how fast a core computes.
    case md5
    /// Copying of 1 KiB, as a part of 32 MiB: how fast memory is.
    case copy
    /// Overwriting a block of 4 KiB that had been zeros, and `fdatasync`.
    case sync
    /// The same after the time that a busy device gives a batch to grow.
    case batch
    /// One byte to another thread over a socket and back.
    case wakeup

    /// Operations of one sample: a few dozen milliseconds.
    var operations: Int {
        switch self {
        case .md5: 16 * Self.digested >> 10
        case .copy: 4 * Self.copied >> 10
        case .sync: 64
        case .batch: 24
        case .wakeup: 1000
        }
    }

    func prepare(_ workspace: Workspace) throws -> Workload {
        switch self {
        case .md5: Self.prepareDigest()
        case .copy: Self.prepareCopy()
        case .sync: try Self.prepareSync(in: workspace, after: 0)
        case .batch: try Self.prepareSync(in: workspace, after: Configuration().gatherMicroseconds)
        case .wakeup: try Self.prepareWakeup()
        }
    }

    private static let digested = 1 << 20
    private static let copied = 32 << 20
    private static let block = 4096
    private static let syncedBlocks = 256

    private static func prepareDigest() -> Workload {
        let bytes = [UInt8](repeating: 7, count: digested)
        return Workload { operations in
            var digest = [UInt8](repeating: 0, count: 16)
            for _ in 0..<operations / (digested >> 10) {
                guard EVP_Q_digest(nil, "MD5", nil, bytes, bytes.count, &digest, nil) == 1 else {
                    throw BenchmarkFailure("libcrypto has no MD5")
                }
            }
            return UInt64(digest[0])
        }
    }

    private static func prepareCopy() -> Workload {
        let source = UnsafeMutableRawBufferPointer.allocate(byteCount: copied, alignment: block)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: copied, alignment: block)
        source.initializeMemory(as: UInt8.self, repeating: 7)
        target.initializeMemory(as: UInt8.self, repeating: 0)
        return Workload(
            run: { operations in
                for _ in 0..<operations / (copied >> 10) { target.copyMemory(from: UnsafeRawBufferPointer(source)) }
                return UInt64(target[operations % copied])
            },
            finish: {
                source.deallocate()
                target.deallocate()
            })
    }

    private static func prepareSync(in workspace: Workspace, after microseconds: Int) throws -> Workload {
        let file = open("\(workspace.path)/sync-\(microseconds)", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw BenchmarkFailure("cannot write in \(workspace.path): errno \(errno)") }
        let zeros = [UInt8](repeating: 0, count: block * syncedBlocks)
        guard pwrite(file, zeros, zeros.count, 0) == zeros.count, fsync(file) == 0 else {
            throw BenchmarkFailure("cannot fill a file: errno \(errno)")
        }
        let bytes = [UInt8](repeating: 7, count: block)
        var next = 0
        return Workload(
            run: { operations in
                for _ in 0..<operations {
                    next = (next + 1) % syncedBlocks
                    if microseconds > 0 { usleep(useconds_t(microseconds)) }
                    guard pwrite(file, bytes, block, off_t(next * block)) == block, fdatasync(file) == 0 else {
                        throw BenchmarkFailure("cannot sync: errno \(errno)")
                    }
                }
                return UInt64(next)
            },
            finish: { close(file) })
    }

    private static func prepareWakeup() throws -> Workload {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw BenchmarkFailure("no sockets: errno \(errno)")
        }
        let (near, far) = (ends[0], ends[1])
        let echo = try ServiceThread(named: "echo") {
            var byte: UInt8 = 0
            while read(far, &byte, 1) == 1, write(far, &byte, 1) == 1 {}
            close(far)
        }
        return Workload(
            run: { operations in
                var byte: UInt8 = 1
                for _ in 0..<operations {
                    guard write(near, &byte, 1) == 1, read(near, &byte, 1) == 1 else {
                        throw BenchmarkFailure("the echo is gone: errno \(errno)")
                    }
                }
                return UInt64(byte)
            },
            finish: {
                close(near)
                echo.join()
            })
    }
}
