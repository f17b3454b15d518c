internal import CKernel
internal import Glibc
internal import Synchronization

/// The file system of the machine.
package struct POSIXFileSystem: FileSystem {
    package init() {}

    package func createDirectory(_ path: String) throws(FileError) {
        if mkdir(path, 0o700) == 0 { return }
        switch errno {
        case EEXIST:
            return
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { throw FileError(errno: ENOENT) }
            try createDirectory(String(path[..<slash]))
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw FileError(errno: errno) }
        default:
            throw FileError(errno: errno)
        }
    }

    package func list(_ path: String) throws(FileError) -> [String] {
        guard let directory = opendir(path) else { throw FileError(errno: errno) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    package func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let flags: Int32
        switch mode {
        case .read: flags = O_RDONLY
        case .readWrite: flags = O_RDWR
        case .create: flags = O_RDWR | O_CREAT
        }
        return try POSIXFile(path, flags)
    }

    package func rename(_ path: String, to target: String) throws(FileError) {
        guard Glibc.rename(path, target) == 0 else { throw FileError(errno: errno) }
    }

    package func remove(_ path: String) throws(FileError) {
        guard unlink(path) == 0 else { throw FileError(errno: errno) }
    }

    package func syncDirectory(_ path: String) throws(FileError) {
        let directory = try POSIXFile(path, O_RDONLY | O_DIRECTORY)
        guard fsync(directory.descriptor) == 0 else { throw FileError(errno: errno) }
    }

    package func space(at path: String) throws(FileError) -> (free: Int64, total: Int64) {
        var values = statvfs()
        guard statvfs(path, &values) == 0 else { throw FileError(errno: errno) }
        let unit = Int64(values.f_frsize)
        return (Int64(values.f_bavail) * unit, Int64(values.f_blocks) * unit)
    }

    /// Past the page cache where the file system can (O_DIRECT): the zeros are never read, and copying them would cost as much processor
    /// as the records that take their place.
    package func appendZeros(_ path: String, at offset: Int64, count: Int) throws(FileError) {
        let flags = O_WRONLY | O_CREAT | (offset == 0 ? O_TRUNC : 0)
        let direct = (count | Int(offset)) % directAlignment == 0 ? kernel_open_direct(path, flags) : -1
        guard direct < 0 else {
            defer { close(direct) }
            return try Self.writeZeros(direct, at: offset, count: count)
        }
        let file = try POSIXFile(path, flags)
        try Self.writeZeros(file.descriptor, at: offset, count: count)
    }

    private static func writeZeros(_ descriptor: Int32, at offset: Int64, count: Int) throws(FileError) {
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: min(count, 1 << 20), alignment: directAlignment)
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        defer { zeros.deallocate() }
        var done = 0
        while done < count {
            let written = pwrite(
                descriptor, zeros.baseAddress, min(count - done, zeros.count), off_t(offset + Int64(done)))
            if written < 0 {
                if errno == EINTR { continue }
                throw FileError(errno: errno)
            }
            done += written
        }
    }

    package func lock(_ path: String) throws(FileError) -> any File {
        let file = try POSIXFile(path, O_RDWR | O_CREAT)
        guard flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 else { throw FileError(errno: errno) }
        return file
    }
}

/// A file descriptor, and others for writes and reads past the page cache if there are any.
private final class POSIXFile: File {
    let descriptor: Int32
    private let path: String
    private let directWriter = Mutex<Int32?>(nil)
    private let directReader = Mutex<Int32?>(nil)

    init(_ path: String, _ flags: Int32) throws(FileError) {
        self.path = path
        descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError(errno: errno) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        for direct in [directWriter.withLock { $0 }, directReader.withLock { $0 }] {
            if let direct, direct >= 0 { close(direct) }
        }
    }

    func length() throws(FileError) -> Int64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError(errno: errno) }
        return Int64(status.st_size)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + done)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(errno: errno)
            }
            done += count
        }
        return done
    }

    func readNothingAhead() { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM) }

    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int? {
        guard buffer.count > 0 else { return 0 }
        var done = 0
        while done < buffer.count {
            let count = kernel_pread_nowait(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + done)
            if count == 0 { break }
            if count < 0 {
                switch errno {
                case EINTR: continue
                case EAGAIN: return nil
                // The file system cannot tell what is cached: let the caller use another thread.
                case EOPNOTSUPP: return nil
                default: throw FileError(errno: errno)
                }
            }
            done += count
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        try Self.write(bytes, to: descriptor, at: offset)
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int64
    ) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + done)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(errno: errno)
            }
            done += count
        }
    }

    func sync() throws(FileError) {
        guard fdatasync(descriptor) == 0 else { throw FileError(errno: errno) }
    }

    func allocate(at offset: Int64, count: Int64) throws(FileError) {
        guard count > 0, kernel_allocate(descriptor, off_t(offset), off_t(count)) != 0 else { return }
        if errno == ENOSPC { throw FileError(errno: ENOSPC) }
    }

    func writeDirectly(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        let direct = opened(directWriter, O_WRONLY)
        if direct >= 0 {
            do {
                return try Self.write(bytes, to: direct, at: offset)
            } catch {
                // The disk wants another alignment, or the file system changed its mind.
                guard error.errno == EINVAL else { throw error }
            }
        }
        try write(bytes, at: offset)
        // So that the sync at the end has little left to wait for.
        _ = kernel_start_writeback(descriptor, off_t(offset), off_t(bytes.count))
    }

    func readDirectly(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        let direct = opened(directReader, O_RDONLY)
        guard direct >= 0 else { return try read(into: buffer, at: offset) }
        var done = 0
        while done < buffer.count {
            let count = pread(direct, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + done)
            if count < 0 {
                if errno == EINTR { continue }
                // The disk wants another alignment, or the file system changed its mind.
                if errno == EINVAL { return try read(into: buffer, at: offset) }
                throw FileError(errno: errno)
            }
            done += count
            // The end of the file: another read from there would not be aligned.
            if count == 0 || count % directAlignment != 0 { break }
        }
        return done
    }

    /// Opened when first used; -1 where the file system has no such thing.
    private func opened(_ direct: borrowing Mutex<Int32?>, _ access: Int32) -> Int32 {
        direct.withLock { direct in
            if let direct { return direct }
            let opened = kernel_open_direct(path, access)
            direct = opened
            return opened
        }
    }
}
