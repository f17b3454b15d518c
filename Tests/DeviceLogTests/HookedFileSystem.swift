import Foundation
import Synchronization
import Testing

@testable import DeviceLog

/// A file system whose opens and reads a test can watch and fail: a hook gives the error, or nil.
final class HookedFileSystem: FileSystem, @unchecked Sendable {
    private let base: any FileSystem
    private let lock = NSLock()
    private var hookOpen: (@Sendable (String, OpenMode) -> Int32?)?
    private var hookRead: (@Sendable (String, Int64, Int) -> Int32?)?
    init(_ base: any FileSystem = MemoryFileSystem()) { self.base = base }

    func onOpen(_ hook: (@Sendable (String, OpenMode) -> Int32?)?) { lock.withLock { hookOpen = hook } }
    func onRead(_ hook: (@Sendable (String, Int64, Int) -> Int32?)?) { lock.withLock { hookRead = hook } }
    func readHook() -> (@Sendable (String, Int64, Int) -> Int32?)? { lock.withLock { hookRead } }

    func createDirectory(_ path: String) throws(FileError) { try base.createDirectory(path) }
    func list(_ path: String) throws(FileError) -> [String] { try base.list(path) }
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        if let code = lock.withLock({ hookOpen })?(path, mode) { throw FileError(errno: code) }
        return HookedFile(path, try base.open(path, mode), self)
    }
    func rename(_ path: String, to target: String) throws(FileError) { try base.rename(path, to: target) }
    func remove(_ path: String) throws(FileError) { try base.remove(path) }
    func syncDirectory(_ path: String) throws(FileError) { try base.syncDirectory(path) }
    func space(at path: String) throws(FileError) -> (free: Int64, total: Int64) { try base.space(at: path) }
    func appendZeros(_ path: String, at offset: Int64, count: Int) throws(FileError) {
        try base.appendZeros(path, at: offset, count: count)
    }
    func lock(_ path: String) throws(FileError) -> any File { try base.lock(path) }
}

private final class HookedFile: File {
    let path: String
    let base: any File
    let fileSystem: HookedFileSystem
    init(_ path: String, _ base: any File, _ fileSystem: HookedFileSystem) {
        self.path = path
        self.base = base
        self.fileSystem = fileSystem
    }
    func length() throws(FileError) -> Int64 { try base.length() }
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        if let code = fileSystem.readHook()?(path, offset, buffer.count) { throw FileError(errno: code) }
        return try base.read(into: buffer, at: offset)
    }
    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int? {
        try read(into: buffer, at: offset)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        try base.write(bytes, at: offset)
    }
    func sync() throws(FileError) { try base.sync() }
    func allocate(at offset: Int64, count: Int64) throws(FileError) { try base.allocate(at: offset, count: count) }
}

/// A counter that threads share.
final class Counter: @unchecked Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func add() { count.withLock { $0 += 1 } }
}
