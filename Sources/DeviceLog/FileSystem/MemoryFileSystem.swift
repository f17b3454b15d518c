internal import Glibc
internal import Synchronization

/// Files in memory, for tests and the simulation. Nothing is lost and nothing fails but for lack of space.
package final class MemoryFileSystem: FileSystem {
    private struct State {
        var files: [String: MemoryFile] = [:]
        var locks: Set<String> = []
    }

    private let capacity: Int64
    private let state = Mutex(State())

    package init(capacity: Int64 = 1 << 40) {
        self.capacity = capacity
    }

    /// Directories need no creation.
    package func createDirectory(_ path: String) {}

    package func list(_ path: String) -> [String] {
        state.withLock { Self.names(in: path, of: $0.files.keys) }
    }

    package func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let file: MemoryFile? = state.withLock { state in
            if let file = state.files[path] { return file }
            guard case .create = mode else { return nil }
            let file = MemoryFile()
            state.files[path] = file
            return file
        }
        guard let file else { throw FileError(errno: ENOENT) }
        return file
    }

    package func rename(_ path: String, to target: String) throws(FileError) {
        let isThere = state.withLock { state in
            guard let file = state.files.removeValue(forKey: path) else { return false }
            state.files[target] = file
            return true
        }
        guard isThere else { throw FileError(errno: ENOENT) }
    }

    package func remove(_ path: String) throws(FileError) {
        guard state.withLock({ $0.files.removeValue(forKey: path) }) != nil else { throw FileError(errno: ENOENT) }
    }

    package func syncDirectory(_ path: String) {}

    package func space(at path: String) -> (free: Int64, total: Int64) {
        let used = state.withLock { $0.files.values.reduce(0) { $0 + Int64($1.count) } }
        return (max(0, capacity - used), capacity)
    }

    package func lock(_ path: String) throws(FileError) -> any File {
        guard state.withLock({ $0.locks.insert(path).inserted }) else { throw FileError(errno: EWOULDBLOCK) }
        return LockFile { [weak self] in self?.state.withLock { _ = $0.locks.remove(path) } }
    }

    /// First path elements below a directory; a directory exists as long as it has files.
    static func names(in directory: String, of paths: some Sequence<String>) -> [String] {
        let prefix = directory + "/"
        return Array(
            Set(
                paths.compactMap { path in
                    path.hasPrefix(prefix)
                        ? path.dropFirst(prefix.count).split(separator: "/").first.map(String.init) : nil
                }))
    }
}

/// The content of a file in memory.
private final class MemoryFile: File {
    private let bytes = Mutex<[UInt8]>([])

    var count: Int { bytes.withLock { $0.count } }

    func length() -> Int64 { Int64(count) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int {
        bytes.withLock { $0.copy(to: buffer, from: Int(offset)) }
    }

    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int? {
        read(into: buffer, at: offset)
    }

    func write(_ content: UnsafeRawBufferPointer, at offset: Int64) {
        bytes.withLock { $0.overwrite(at: Int(offset), with: content) }
    }

    func sync() {}
    func allocate(at offset: Int64, count: Int64) {}
}

/// A lock that ends with the last reference.
final class LockFile: File {
    private let release: @Sendable () -> Void

    init(release: @escaping @Sendable () -> Void) {
        self.release = release
    }

    deinit {
        release()
    }

    func length() -> Int64 { 0 }
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int { 0 }
    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int? { 0 }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) { throw FileError(errno: EBADF) }
    func sync() {}
    func allocate(at offset: Int64, count: Int64) {}
}

extension Array where Element == UInt8 {
    /// How many bytes there were to copy.
    func copy(to buffer: UnsafeMutableRawBufferPointer, from offset: Int) -> Int {
        guard offset < count, let target = buffer.baseAddress else { return 0 }
        let length = Swift.min(buffer.count, count - offset)
        withUnsafeBytes { target.copyMemory(from: $0.baseAddress! + offset, byteCount: length) }
        return length
    }

    /// Grows with zeros as needed.
    mutating func overwrite(at offset: Int, with content: UnsafeRawBufferPointer) {
        guard let source = content.baseAddress, content.count > 0 else { return }
        if count < offset + content.count {
            self += [UInt8](repeating: 0, count: offset + content.count - count)
        }
        withUnsafeMutableBytes { ($0.baseAddress! + offset).copyMemory(from: source, byteCount: content.count) }
    }
}
