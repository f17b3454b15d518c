internal import Glibc
package import NIOCore
internal import Synchronization

/// A long body on its way to a device: written while it streams in, named by a record at last.
///
/// Append, then `seal`, then submit it with a put. A blob that is dropped removes its file; one whose put was not stored may be put again.
/// The calls block on the disk and come from one thread at a time.
package final class StagedBlob: Sendable {
    private struct State {
        var length: Int64 = 0
        var checksums: [UInt32] = []
        /// Of the block that is not full yet.
        var blockChecksum: UInt32 = 0
        var blockLength = 0
        var startedWriteback: Int64 = 0
        var isSealed = false
        var isOver = false
    }

    /// Write-back is started whenever this much is new, so that the seal has little left to wait for.
    private static let writebackStep: Int64 = 4 << 20

    let id: UInt64
    private let file: any File
    private let files: BlobFiles
    private let blockSize: Int
    private let state = Mutex(State())

    init(files: BlobFiles, blockSize: Int, expectedLength: Int64?) throws(FileError) {
        self.files = files
        self.blockSize = blockSize
        (id, file) = try files.create()
        guard let expectedLength else { return }
        do {
            try file.allocate(at: 0, count: expectedLength)
        } catch {
            try? files.remove(id)
            throw error
        }
    }

    deinit {
        discard()
    }

    /// Bytes appended so far.
    package var length: Int64 { state.withLock { $0.length } }

    /// Adds bytes at the end. `.full` and `.io` leave a blob that can only be discarded.
    package func append(_ bytes: ByteBuffer) throws(DeviceLogError) {
        let offset = state.withLock { $0.isSealed || $0.isOver ? -1 : $0.length }
        guard offset >= 0 else { throw .closed }
        let result: Result<Void, FileError> = bytes.withUnsafeReadableBytes { memory in
            do throws(FileError) { return .success(try file.write(memory, at: offset)) } catch {
                return .failure(error)
            }
        }
        if case .failure(let error) = result { throw DeviceLogError(error) }
        let writeback: (Int64, Int64)? = state.withLock { state in
            bytes.withUnsafeReadableBytes { add($0, to: &state) }
            guard state.length - state.startedWriteback >= Self.writebackStep else { return nil }
            defer { state.startedWriteback = state.length }
            return (state.startedWriteback, state.length - state.startedWriteback)
        }
        if let (start, count) = writeback { file.startWriteback(at: start, count: count) }
    }

    /// Makes the bytes and the file's name durable.
    package func seal() throws(DeviceLogError) {
        guard !state.withLock({ $0.isOver }) else { throw .closed }
        do {
            try file.sync()
            try files.syncFolder(of: id)
        } catch {
            throw DeviceLogError(error)
        }
        state.withLock { state in
            guard !state.isSealed else { return }
            if state.blockLength > 0 { state.checksums.append(state.blockChecksum) }
            state.isSealed = true
        }
    }

    /// Removes the file, unless a record names it.
    package func discard() {
        let remove = state.withLock { state in
            defer { state.isOver = true }
            return !state.isOver
        }
        // A file that stays is swept at the next start.
        if remove { try? files.remove(id) }
    }

    /// Nil unless sealed and not given to a record yet.
    var description: BlobDescription? {
        state.withLock { state in
            guard state.isSealed, !state.isOver else { return nil }
            return BlobDescription(id: id, blockSize: UInt32(blockSize), checksums: state.checksums)
        }
    }

    /// A durable record names the file from here on.
    func release() {
        state.withLock { $0.isOver = true }
    }

    private func add(_ bytes: UnsafeRawBufferPointer, to state: inout State) {
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, blockSize - state.blockLength)
            state.blockChecksum = CRC32C.checksum(bytes.part(done, count), seed: state.blockChecksum)
            state.blockLength += count
            done += count
            if state.blockLength == blockSize {
                state.checksums.append(state.blockChecksum)
                state.blockChecksum = 0
                state.blockLength = 0
            }
        }
        state.length += Int64(bytes.count)
    }
}

extension DeviceLogError {
    init(_ error: FileError) {
        self = error.errno == ENOSPC || error.errno == EDQUOT ? .full : .io(errno: error.errno)
    }
}
