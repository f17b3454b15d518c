internal import Glibc

/// The users file on disk: atomic replacement, and a lock between processes that edit it.
package struct UserStore: Sendable {
    /// Why reading or writing failed.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case content(UserFile.Failure)
        /// `step` names the system call, `code` is its errno.
        case system(step: String, code: Int32)

        package var description: String {
            switch self {
            case .content(let failure): failure.description
            case .system(let step, let code): "\(step) of the users file failed: \(String(cString: strerror(code)))"
            }
        }
    }

    /// What tells one version of the file from another without reading it.
    package struct Version: Sendable, Equatable {
        fileprivate var inode: UInt64
        fileprivate var size: Int64
        fileprivate var seconds: Int
        fileprivate var nanoseconds: Int
    }

    /// Path of the file; beside it lie `.lock` and, for moments, `.new`.
    package let path: String
    private let clusterKey: ClusterKey

    package init(path: String, clusterKey: ClusterKey) {
        self.path = path
        self.clusterKey = clusterKey
    }

    /// The version on disk; nil when there is no file.
    package func version() throws(Failure) -> Version? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { return nil }
            throw .system(step: "stat", code: errno)
        }
        return Version(
            inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: Int(status.st_mtim.tv_sec),
            nanoseconds: Int(status.st_mtim.tv_nsec))
    }

    /// The users; none when there is no file.
    /// - Parameter known: what was loaded before, which makes it quicker.
    package func load(knowing known: UserFile? = nil) throws(Failure) -> UserFile {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return UserFile(clusterKey: clusterKey) }
            throw .system(step: "open", code: errno)
        }
        defer { close(descriptor) }
        let text = try Self.readAll(descriptor)
        do { return try UserFile(parsing: text, clusterKey: clusterKey, knowing: known) } catch {
            throw .content(error)
        }
    }

    /// Loads the users, lets `change` edit them and saves them, all under the lock.
    /// - Parameter known: what was loaded before, which makes it quicker.
    package func edit<Result>(
        knowing known: UserFile? = nil, _ change: (inout UserFile) throws(UserFile.Failure) -> Result
    ) throws(Failure) -> Result {
        let lock = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw .system(step: "open", code: errno) }
        defer { close(lock) }
        while flock(lock, LOCK_EX) != 0 {
            if errno != EINTR { throw .system(step: "flock", code: errno) }
        }
        var users = try load(knowing: known)
        let result: Result
        do { result = try change(&users) } catch { throw .content(error) }
        let text = users.serialized()
        guard text.count <= UserFile.maximumFileSize else { throw .content(.tooLarge) }
        try replace(with: text)
        return result
    }

    /// A reader sees the old file or the new one, also after power loss.
    private func replace(with text: [UInt8]) throws(Failure) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(step: "open", code: errno) }
        do throws(Failure) {
            defer { close(descriptor) }
            guard fchmod(descriptor, 0o600) == 0 else { throw .system(step: "fchmod", code: errno) }
            try Self.writeAll(text, to: descriptor)
            guard fsync(descriptor) == 0 else { throw .system(step: "fsync", code: errno) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else { throw .system(step: "rename", code: errno) }
        let directory = open(Self.parent(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .system(step: "open", code: errno) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw .system(step: "fsync", code: errno) }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func readAll(_ descriptor: Int32) throws(Failure) -> [UInt8] {
        var text = [UInt8]()
        var block = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &block, block.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(step: "read", code: errno)
            }
            if count == 0 { return text }
            text += block.prefix(count)
            guard text.count <= UserFile.maximumFileSize else { throw .content(.tooLarge) }
        }
    }

    private static func writeAll(_ text: [UInt8], to descriptor: Int32) throws(Failure) {
        var done = 0
        while done < text.count {
            let count = text.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, text.count - done) }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(step: "write", code: errno)
            }
            done += count
        }
    }
}
