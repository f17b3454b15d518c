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
        /// Appended and not written yet: less than a piece between two calls. Kept as they came, so that replicas in one process share them.
        var waiting: [ByteBuffer] = []
        var waitingBytes = 0
        var written: Int64 = 0
        var checksums: [UInt32] = []
        /// Of the block that is not full yet.
        var blockChecksum: UInt32 = 0
        var blockLength = 0
        var isNameDurable = false
        var isSealed = false
        var isOver = false
        /// A write failed: what is in the file is not what came.
        var isBroken = false
    }

    /// Shorter chunks are copied together: each would hold on to a whole receive buffer.
    private static let keptChunk = 32 << 10

    let id: UInt64
    private let file: any File
    private let files: BlobFiles
    private let blockSize: Int
    private let pieceSize: Int
    private let state = Mutex(State())

    init(files: BlobFiles, blockSize: Int, pieceSize: Int, expectedLength: Int64?) throws(FileError) {
        self.files = files
        self.blockSize = blockSize
        self.pieceSize = pieceSize
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
        if try appendWhole(bytes) { return }
        let hasPiece: Bool? = state.withLock { state in
            guard !state.isSealed, !state.isOver, !state.isBroken else { return nil }
            bytes.withUnsafeReadableBytes { add($0, to: &state) }
            keep(bytes, in: &state)
            return state.waitingBytes >= pieceSize
        }
        guard let hasPiece else { throw .closed }
        guard hasPiece else { return }
        do {
            while state.withLock({ $0.waitingBytes >= pieceSize }) { try writePiece(pieceSize) }
            try syncName()
        } catch {
            state.withLock { $0.isBroken = true }
            throw DeviceLogError(error)
        }
    }

    /// Writes a piece that came as one, from where it lies; false when it did not, or does not lie as the disk wants it.
    private func appendWhole(_ bytes: ByteBuffer) throws(DeviceLogError) -> Bool {
        let result: Result<Bool, FileError> = bytes.withUnsafeReadableBytes { memory in
            guard memory.count == pieceSize, UInt(bitPattern: memory.baseAddress) % UInt(directAlignment) == 0 else {
                return .success(false)
            }
            let offset: Int64? = state.withLock { state in
                guard !state.isSealed, !state.isOver, !state.isBroken, state.waitingBytes == 0 else { return nil }
                add(memory, to: &state)
                defer { state.written += Int64(memory.count) }
                return state.written
            }
            guard let offset else { return .success(false) }
            do throws(FileError) {
                try file.writeDirectly(memory, at: offset)
                try syncName()
                return .success(true)
            } catch {
                return .failure(error)
            }
        }
        do { return try result.get() } catch {
            state.withLock { $0.isBroken = true }
            throw DeviceLogError(error)
        }
    }

    private func keep(_ bytes: ByteBuffer, in state: inout State) {
        let count = bytes.readableBytes
        guard count > 0 else { return }
        state.waitingBytes += count
        guard count < Self.keptChunk else { return state.waiting.append(bytes) }
        if let last = state.waiting.indices.last, state.waiting[last].readableBytes < Self.keptChunk {
            // Grows a copy of its own, if it is a slice of what others hold too.
            state.waiting[last].writeImmutableBuffer(bytes)
        } else {
            var own = ByteBuffer()
            own.writeImmutableBuffer(bytes)
            state.waiting.append(own)
        }
    }

    /// Makes the bytes and the file's name durable.
    package func seal() throws(DeviceLogError) {
        guard !state.withLock({ $0.isOver || $0.isBroken }) else { throw .closed }
        do {
            let (rest, isShort) = state.withLock { ($0.waitingBytes, $0.written == 0) }
            // A short blob stays in memory for who reads it next.
            let whole = isShort ? 0 : rest / directAlignment * directAlignment
            if whole > 0 { try writePiece(whole) }
            try writeTail()
            try file.sync()
            try syncName()
        } catch {
            state.withLock { $0.isBroken = true }
            throw DeviceLogError(error)
        }
        state.withLock { state in
            guard !state.isSealed else { return }
            if state.blockLength > 0 { state.checksums.append(state.blockChecksum) }
            state.isSealed = true
        }
    }

    /// Writes the first `count` bytes that wait, past the page cache.
    private func writePiece(_ count: Int) throws(FileError) {
        let piece = files.pieces.take(count: pieceSize)
        defer { files.pieces.giveBack(piece) }
        let offset = state.withLock { state in
            take(count, from: &state, into: piece)
            defer { state.written += Int64(count) }
            return state.written
        }
        try file.writeDirectly(UnsafeRawBufferPointer(rebasing: piece[..<count]), at: offset)
    }

    private func writeTail() throws(FileError) {
        let (buffers, start) = state.withLock { state in
            defer {
                state.written += Int64(state.waitingBytes)
                state.waiting = []
                state.waitingBytes = 0
            }
            return (state.waiting, state.written)
        }
        var offset = start
        for buffer in buffers {
            let result: Result<Void, FileError> = buffer.withUnsafeReadableBytes { memory in
                do throws(FileError) { return .success(try file.write(memory, at: offset)) } catch {
                    return .failure(error)
                }
            }
            try result.get()
            offset += Int64(buffer.readableBytes)
        }
    }

    /// Early, beside the bytes that still come: at the end somebody waits for it.
    private func syncName() throws(FileError) {
        guard !state.withLock({ $0.isNameDurable }) else { return }
        try files.syncFolder(of: id)
        state.withLock { $0.isNameDurable = true }
    }

    private func take(_ count: Int, from state: inout State, into piece: UnsafeMutableRawBufferPointer) {
        var done = 0
        var used = 0
        while done < count {
            let part = min(state.waiting[used].readableBytes, count - done)
            state.waiting[used].readWithUnsafeReadableBytes { memory in
                (piece.baseAddress! + done).copyMemory(from: memory.baseAddress!, byteCount: part)
                return part
            }
            done += part
            if state.waiting[used].readableBytes == 0 { used += 1 }
        }
        state.waiting.removeFirst(used)
        state.waitingBytes -= count
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
