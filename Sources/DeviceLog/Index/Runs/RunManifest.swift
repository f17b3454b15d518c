internal import Glibc

/// Which runs make up the index, and what it stands for. The file is replaced as a whole: what it says is durable, all of it.
struct RunManifest {
    private static let magic: UInt64 = 0x5844_4E49_5854_4652
    private static let version: UInt32 = 2
    /// Older runs may be of this one; what is written is of `version`.
    private static let oldest: UInt32 = 1
    /// Far more than there can be.
    private static let limit = 64 << 20

    /// The newest first.
    var runs: [UInt64]
    /// The next run gets this number.
    var nextRun: UInt64
    var state: IndexState
    /// A block of a run could not be read: the index is to be rebuilt.
    var isDamaged: Bool

    /// Nil when there is none; throws `.corrupt` when it is damaged, `.refused` when it is of another format.
    static func read(_ directory: String, _ fileSystem: any FileSystem) throws(DeviceLogError) -> RunManifest? {
        let bytes: [UInt8]?
        do { bytes = try fileSystem.readFile(path(directory), limit: limit) } catch {
            throw error.errno == EFBIG || error.errno == EIO ? .corrupt : DeviceLogError(error)
        }
        guard let bytes else { return nil }
        guard let manifest = bytes.withUnsafeBytes({ decode($0) }) else {
            guard let format = bytes.withUnsafeBytes({ format(of: $0) }), !isKnown(format) else { throw .corrupt }
            throw .otherFormat(path(directory), format, known: version)
        }
        return manifest
    }

    /// Writes it beside the one that counts. The files of its runs are durable; their directory entries are made so here.
    func prepare(_ directory: String, _ fileSystem: any FileSystem) throws(DeviceLogError) {
        do throws(FileError) {
            let temporary = Self.temporary(directory)
            // What an attempt left that failed may be longer.
            try fileSystem.removeIfThere(temporary)
            let file = try fileSystem.open(temporary, .create)
            try encoded.withBytes { (bytes) throws(FileError) in try file.write(bytes, at: 0) }
            try file.sync()
            try fileSystem.syncDirectory(directory)
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// Makes what `prepare` wrote the one that counts. When this throws, it is open which one a start would find.
    static func install(_ directory: String, _ fileSystem: any FileSystem) throws(DeviceLogError) {
        do throws(FileError) {
            try fileSystem.rename(temporary(directory), to: path(directory))
            try fileSystem.syncDirectory(directory)
        } catch {
            throw DeviceLogError(error)
        }
    }

    private static func temporary(_ directory: String) -> String { path(directory) + ".new" }

    static func path(_ directory: String) -> String { "\(directory)/manifest" }

    private var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: Self.magic)
        bytes.append(little: Self.version)
        bytes.append(isDamaged ? 1 : 0)
        bytes.append(little: nextRun)
        bytes.append(little: UInt32(runs.count))
        for run in runs { bytes.append(little: run) }
        let state = IndexCoding.encode(state)
        bytes.append(little: UInt32(state.count))
        bytes.append(contentsOf: state)
        bytes.append(little: bytes.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes
    }

    /// Of which format an undamaged manifest is, and all its runs with it.
    private static func format(of bytes: UnsafeRawBufferPointer) -> UInt32? {
        guard bytes.count >= 16, let base = bytes.baseAddress, base.get(UInt64.self, at: 0) == magic,
            CRC32C.checksum(bytes.part(0, bytes.count - 4)) == base.get(UInt32.self, at: bytes.count - 4)
        else { return nil }
        return base.get(UInt32.self, at: 8)
    }

    private static func isKnown(_ format: UInt32) -> Bool { (oldest...version).contains(format) }

    private static func decode(_ bytes: UnsafeRawBufferPointer) -> RunManifest? {
        guard bytes.count >= 4, let base = bytes.baseAddress else { return nil }
        let body = bytes.part(0, bytes.count - 4)
        guard CRC32C.checksum(body) == base.get(UInt32.self, at: body.count) else { return nil }
        var reader = ByteReader(body)
        guard reader.next(UInt64.self) == magic, let version = reader.next(UInt32.self), isKnown(version),
            let isDamaged = reader.next(UInt8.self), let nextRun = reader.next(UInt64.self),
            let count = reader.next(UInt32.self)
        else { return nil }
        var runs: [UInt64] = []
        for _ in 0..<count {
            guard let run = reader.next(UInt64.self) else { return nil }
            runs.append(run)
        }
        guard let length = reader.next(UInt32.self), let bytes = reader.next(count: Int(length)),
            reader.remaining == 0, let state = IndexCoding.state(bytes)
        else { return nil }
        // Numbers are never used twice.
        guard Set(runs).count == runs.count, nextRun > runs.max() ?? 0, nextRun < .max / 2 else { return nil }
        return RunManifest(runs: runs, nextRun: nextRun, state: state, isDamaged: isDamaged != 0)
    }
}
