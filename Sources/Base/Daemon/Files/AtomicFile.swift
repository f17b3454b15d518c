import Glibc
import Synchronization

/// Small files (keys, users, rings, device facts) that are replaced as a whole: a reader sees the old or the new bytes, also after
/// power loss.
package enum AtomicFile {
    private static let sequence = Atomic<UInt64>(0)

    /// Writes `bytes` to a new file beside `path`, syncs it, renames it over `path` and syncs the directory.
    ///
    /// On an error `path` is untouched. Use mode `0o600` for whatever holds a secret.
    package static func write(
        _ bytes: some Collection<UInt8>, to path: String, mode: UInt32 = 0o644
    ) throws(FileError) {
        let number = sequence.add(1, ordering: .relaxed).newValue
        let draft = "\(path).\(getpid())-\(number).new"
        do throws(FileError) {
            try writeDraft(Array(bytes), draft: draft, mode: mode)
            try FileError.check("rename", path) { rename(draft, path) }
        } catch {
            unlink(draft)
            throw error
        }
        try syncDirectory(parent(of: path))
    }

    /// The whole file, or nil when there is none. A file of more than `limit` bytes is an error (`EFBIG`), not a large allocation.
    package static func read(_ path: String, limit: Int) throws(FileError) -> [UInt8]? {
        let descriptor: Int32
        do throws(FileError) {
            descriptor = try FileError.check("open", path) { open(path, O_RDONLY | O_CLOEXEC) }
        } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
        defer { close(descriptor) }
        var facts = stat()
        try FileError.check("stat", path) { fstat(descriptor, &facts) }
        guard facts.st_size <= limit else { throw FileError(operation: "read", path: path, code: EFBIG) }
        // One byte more than allowed shows a file that grew meanwhile; files of /proc say that they are empty.
        let most = min(limit, 1 << 40) + 1
        var bytes = [UInt8](repeating: 0, count: min(most, max(Int(facts.st_size) + 1, 4096)))
        var filled = 0
        while filled < bytes.count {
            let count = try FileError.check("read", path) {
                bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + filled, $0.count - filled) }
            }
            if count == 0 { break }
            filled += count
            if filled == bytes.count { bytes += repeatElement(0, count: min(filled, most - filled)) }
        }
        guard filled <= limit else { throw FileError(operation: "read", path: path, code: EFBIG) }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    /// Makes the names in a directory durable.
    package static func syncDirectory(_ path: String) throws(FileError) {
        let descriptor = try FileError.check("open", path) { open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { close(descriptor) }
        try FileError.check("sync", path) { fsync(descriptor) }
    }

    private static func writeDraft(_ bytes: [UInt8], draft: String, mode: UInt32) throws(FileError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = try FileError.check("create", draft) { open(draft, flags, mode) }
        defer { close(descriptor) }
        // The mode asked for holds whatever the umask of the caller is.
        try FileError.check("chmod", draft) { fchmod(descriptor, mode) }
        var written = 0
        while written < bytes.count {
            written += try FileError.check("write", draft) {
                bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
            }
        }
        try FileError.check("sync", draft) { fsync(descriptor) }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
