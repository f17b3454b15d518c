internal import Glibc

/// A system call of the file system that failed.
package struct FileError: Error, Equatable, Sendable {
    package let errno: Int32

    package init(errno: Int32) {
        self.errno = errno
    }
}

/// The seam under the log: files and directories. Forms: `POSIXFileSystem`, `MemoryFileSystem`, `FaultyFileSystem`.
package protocol FileSystem: Sendable {
    /// Creates a directory and those above it; succeeds when it is there.
    func createDirectory(_ path: String) throws(FileError)
    /// Names in a directory, without `.` and `..`, in no order.
    func list(_ path: String) throws(FileError) -> [String]
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File
    func rename(_ path: String, to target: String) throws(FileError)
    /// Removes a file.
    func remove(_ path: String) throws(FileError)
    /// Makes creations, renames and removals in a directory durable.
    func syncDirectory(_ path: String) throws(FileError)
    func space(at path: String) throws(FileError) -> (free: Int64, total: Int64)
    /// Writes zeros to the end of a file, which is `offset`; begins the file anew when that is 0. They are on disk, and a later overwrite and
    /// sync changes no metadata, once the file was synced.
    func appendZeros(_ path: String, at offset: Int64, count: Int) throws(FileError)
    /// Takes the lock file at `path` for this process, until the returned file is closed; EWOULDBLOCK when it is taken.
    func lock(_ path: String) throws(FileError) -> any File
}

package enum OpenMode: Sendable {
    case read
    case readWrite
    /// For reading and writing; ENOENT never happens.
    case create
}

/// An open file. Closed when the last reference goes.
package protocol File: AnyObject, Sendable {
    func length() throws(FileError) -> Int64
    /// Reads up to the end of the buffer or of the file; the result is smaller than the buffer only at the end of the
    /// file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int
    /// As `read`, but nil when the bytes are not in memory.
    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int?
    /// Writes all bytes.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError)
    /// fdatasync.
    func sync() throws(FileError)
    /// Allocates blocks; a hint, errors other than ENOSPC are swallowed.
    func allocate(at offset: Int64, count: Int64) throws(FileError)
    /// As `write`, past the page cache where the file system can: for bytes that nobody is about to read, copying them there costs more
    /// than writing them. Address, offset and count are multiples of `directAlignment`.
    func writeDirectly(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError)
    /// As `read`, from the disk and past the page cache where the file system can: what is there is looked at, and nothing that others
    /// read is displaced. Address, offset and count are multiples of `directAlignment`.
    func readDirectly(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int
    /// Has the disk read what is asked for and no more: megabytes read ahead are in the way of commits.
    func readNothingAhead()
}

/// What `File.writeDirectly` takes is aligned to this: the page, at least as large as the blocks of any disk.
let directAlignment = 4096

extension File {
    package func readNothingAhead() {}

    package func writeDirectly(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        try write(bytes, at: offset)
    }

    package func readDirectly(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        try read(into: buffer, at: offset)
    }

    /// As `readDirectly`; pages that the disk cannot read come as zeros, which no checksum takes for data.
    func readForAudit(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        do {
            return try readDirectly(into: buffer, at: offset)
        } catch {
            guard error.errno == EIO else { throw error }
        }
        var done = 0
        while done < buffer.count {
            let rest = buffer.count - done
            let page = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + min(directAlignment, rest)])
            var count = page.count
            do {
                count = try readDirectly(into: page, at: offset + Int64(done))
            } catch {
                guard error.errno == EIO else { throw error }
                page.initializeMemory(as: UInt8.self, repeating: 0)
            }
            done += count
            if count < page.count { break }
        }
        return done
    }
}

extension Int {
    /// Up to the next multiple of `directAlignment`.
    var roundedUpToPage: Int { (self + directAlignment - 1) / directAlignment * directAlignment }
}

extension FileSystem {
    package func appendZeros(_ path: String, at offset: Int64, count: Int) throws(FileError) {
        if offset == 0 { try removeIfThere(path) }
        let file = try open(path, .create)
        let zeros = [UInt8](repeating: 0, count: count)
        try zeros.withBytes { (bytes) throws(FileError) in try file.write(bytes, at: offset) }
    }

    /// As `remove`; no error when there is no such file.
    func removeIfThere(_ path: String) throws(FileError) {
        do { try remove(path) } catch {
            guard error.errno == ENOENT else { throw error }
        }
    }

    /// The whole content of a small file; nil when it does not exist.
    func readFile(_ path: String, limit: Int) throws(FileError) -> [UInt8]? {
        let file: any File
        do {
            file = try open(path, .read)
        } catch {
            guard error.errno == ENOENT else { throw error }
            return nil
        }
        let length = Int(try file.length())
        guard length <= limit else { throw FileError(errno: EFBIG) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 8)
        defer { buffer.deallocate() }
        let count = try file.read(into: buffer, at: 0)
        return [UInt8](UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
}
