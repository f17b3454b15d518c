import Glibc

/// Says that this process owns a data directory: a `flock` on `DIR/ringfort.lock`, which holds the owner's process id.
///
/// The kernel drops the lock when the process ends, however it ends, so there is no stale lock to clean up.
package final class DirectoryLock: Sendable {
    package static let fileName = "ringfort.lock"

    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// Another process (nil when it has not written its id yet) works on the directory.
        case held(directory: String, process: Int32?)
        case file(FileError)

        package var description: String {
            switch self {
            case .held(let directory, let process?): "\(directory) is in use by process \(process)"
            case .held(let directory, nil): "\(directory) is in use by another process"
            case .file(let error): error.description
            }
        }
    }

    private let descriptor: Int32

    /// Takes the lock at once or throws; it never waits.
    package init(directory: String) throws(Failure) {
        let path = "\(directory)/\(Self.fileName)"
        let descriptor: Int32
        do throws(FileError) {
            // Close-on-exec: a child must not keep the lock after its parent's death.
            descriptor = try FileError.check("open", path) { open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644) }
        } catch {
            throw .file(error)
        }
        do throws(FileError) {
            try FileError.check("lock", path) { flock(descriptor, LOCK_EX | LOCK_NB) }
            try Self.record(getpid(), in: descriptor, path)
        } catch {
            let owner = Self.owner(descriptor)
            close(descriptor)
            if error.code == EWOULDBLOCK { throw .held(directory: directory, process: owner) }
            throw .file(error)
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The process that holds the lock of a directory; nil when nobody does.
    ///
    /// This is how commands find out whether the store on a directory is running.
    package static func holder(of directory: String) -> Int32? {
        let descriptor = open("\(directory)/\(fileName)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
        return owner(descriptor)
    }

    private static func record(_ process: Int32, in descriptor: Int32, _ path: String) throws(FileError) {
        let line = Array("\(process)\n".utf8)
        try FileError.check("truncate", path) { ftruncate(descriptor, 0) }
        try FileError.check("write", path) { pwrite(descriptor, line, line.count, 0) }
    }

    private static func owner(_ descriptor: Int32) -> Int32? {
        var line = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &line, line.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: line[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }
}
