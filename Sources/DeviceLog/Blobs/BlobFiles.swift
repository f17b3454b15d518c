internal import Glibc
internal import Synchronization

/// The files of bodies that are too long for a record: `blobs/<last two digits>/<number>`.
final class BlobFiles: Sendable {
    let directory: String
    let fileSystem: any FileSystem
    let pieces = PieceBuffers()
    private let next: Atomic<UInt64>

    /// Blobs get numbers from `first` on; none of them was ever given before.
    init(directory: String, fileSystem: any FileSystem, first: UInt64) {
        self.directory = directory
        self.fileSystem = fileSystem
        next = Atomic(first)
    }

    /// A new file, whose name is not durable yet.
    func create() throws(FileError) -> (id: UInt64, file: any File) {
        let id = next.wrappingAdd(1, ordering: .relaxed).oldValue
        do {
            return (id, try fileSystem.open(path(id), .create))
        } catch {
            guard error.errno == ENOENT else { throw error }
        }
        try fileSystem.createDirectory(folder(id))
        try fileSystem.syncDirectory(directory)
        return (id, try fileSystem.open(path(id), .create))
    }

    func open(_ id: UInt64) throws(FileError) -> any File {
        try fileSystem.open(path(id), .read)
    }

    /// A blob that is not there is removed already.
    func remove(_ id: UInt64) throws(FileError) {
        do {
            try fileSystem.remove(path(id))
        } catch {
            guard error.errno == ENOENT else { throw error }
        }
    }

    func syncFolder(of id: UInt64) throws(FileError) {
        try fileSystem.syncDirectory(folder(id))
    }

    /// The blobs that `isUsed` does not know; asked before any is created. None of their numbers is given again, so that they can be
    /// removed later.
    func unused(_ isUsed: (UInt64) throws(DeviceLogError) -> Bool) throws(DeviceLogError) -> [UInt64] {
        var unused: [UInt64] = []
        var highest: UInt64 = 0
        do {
            for folder in try fileSystem.list(directory) {
                for name in try fileSystem.list("\(directory)/\(folder)") {
                    guard let id = UInt64(name, radix: 16) else { continue }
                    highest = max(highest, id)
                    if try !isUsed(id) { unused.append(id) }
                }
            }
        } catch let error as FileError {
            throw .io(errno: error.errno)
        } catch {
            throw error as? DeviceLogError ?? .closed
        }
        if highest >= next.load(ordering: .relaxed) { next.store(highest + 1, ordering: .relaxed) }
        return unused
    }

    private func folder(_ id: UInt64) -> String {
        "\(directory)/\(Self.hex(id & 0xFF, digits: 2))"
    }

    private func path(_ id: UInt64) -> String {
        "\(folder(id))/\(Self.hex(id, digits: 16))"
    }

    private static func hex(_ value: UInt64, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: digits - text.utf8.count) + text
    }
}

/// Aligned memory for pieces on their way to the disk. A device keeps a few; more are made while more blobs are written at once.
final class PieceBuffers: Sendable {
    private struct Kept {
        // Unchecked: memory that nobody else knows of.
        nonisolated(unsafe) var buffers: [UnsafeMutableRawBufferPointer] = []
    }

    private static let maximumKept = 2

    private let kept = Mutex(Kept())

    deinit {
        kept.withLock { kept in
            for buffer in kept.buffers { buffer.deallocate() }
        }
    }

    func take(count: Int) -> UnsafeMutableRawBufferPointer {
        let buffer = kept.withLock { $0.buffers.popLast() }
        return buffer ?? .allocate(byteCount: count, alignment: directAlignment)
    }

    func giveBack(_ buffer: UnsafeMutableRawBufferPointer) {
        let isKept = kept.withLock { kept in
            guard kept.buffers.count < Self.maximumKept else { return false }
            kept.buffers.append(buffer)
            return true
        }
        if !isKept { buffer.deallocate() }
    }
}

/// What a record says about its blob: the number, the size of the checksummed blocks and their checksums.
struct BlobDescription: Equatable, Sendable {
    var id: UInt64
    var blockSize: UInt32
    var checksums: [UInt32]

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16 + checksums.count * 4)
        bytes.append(little: id)
        bytes.append(little: blockSize)
        bytes.append(little: UInt32(checksums.count))
        for checksum in checksums { bytes.append(little: checksum) }
        return bytes
    }
}

extension BlobDescription {
    /// Nil when the bytes are none, or not for a body of this length.
    init?(_ bytes: UnsafeRawBufferPointer, length: UInt64) {
        var reader = ByteReader(bytes)
        guard let id = reader.next(UInt64.self), let blockSize = reader.next(UInt32.self), blockSize > 0,
            let count = reader.next(UInt32.self), reader.remaining == Int(count) * 4,
            UInt64(count) == length / UInt64(blockSize) + (length % UInt64(blockSize) == 0 ? 0 : 1)
        else { return nil }
        var checksums: [UInt32] = []
        checksums.reserveCapacity(Int(count))
        while let checksum = reader.next(UInt32.self) { checksums.append(checksum) }
        self.init(id: id, blockSize: blockSize, checksums: checksums)
    }
}
