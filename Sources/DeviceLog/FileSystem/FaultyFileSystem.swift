internal import Glibc
internal import Synchronization

/// A file system in memory that remembers what was synced, and what may become of the rest when the power fails: any
/// of the unsynced writes may be lost, torn at sectors, or be there while an earlier one is not. Further faults are
/// set as `plan`.
package final class FaultyFileSystem: FileSystem {
    /// Faults to come.
    package struct Plan: Sendable {
        /// Changing operations until the machine stops; nil: it goes on.
        package var operationsUntilCrash: Int?
        /// Syncs until one fails with EIO; nil: never.
        package var syncsUntilFailure: Int?
        /// Bytes that fit.
        package var capacity: Int64 = 1 << 40

        package init() {}
    }

    /// What a disk writes as a whole.
    private static let sector = 512

    private struct UnsyncedWrite {
        var offset: Int
        var bytes: [UInt8]
    }

    private struct Inode {
        var live: [UInt8] = []
        var durable: [UInt8] = []
        var unsynced: [UnsyncedWrite] = []
    }

    private enum NameChange {
        case create(String, Int)
        case rename(String, String)
        case remove(String)
    }

    private struct State {
        var plan = Plan()
        var random: UInt64
        var inodes: [Int: Inode] = [:]
        var nextInode = 0
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var unsyncedNames: [NameChange] = []
        var locks: Set<String> = []
        /// Files opened before a crash belong to a machine that is gone.
        var generation = 0
        var hasStopped = false
        var operations = 0
    }

    private let state: Mutex<State>

    package init(seed: UInt64) {
        state = Mutex(State(random: seed))
    }

    package var plan: Plan {
        get { state.withLock { $0.plan } }
        set { state.withLock { $0.plan = newValue } }
    }

    /// Whether the planned crash came.
    package var hasStopped: Bool { state.withLock { $0.hasStopped } }

    /// Changing operations so far.
    package var operations: Int { state.withLock { $0.operations } }

    // MARK: Faults

    /// The machine starts again after a power loss.
    package func losePower() {
        state.withLock { state in
            let kept = Int(Self.random(&state) % UInt64(state.unsyncedNames.count + 1))
            for change in state.unsyncedNames.prefix(kept) { Self.apply(change, to: &state.durableNames) }
            for id in state.inodes.keys.sorted() {
                guard var inode = state.inodes[id] else { continue }
                for write in inode.unsynced { Self.tear(write, into: &inode, &state) }
                inode.live = inode.durable
                inode.unsynced = []
                state.inodes[id] = inode
            }
            state.names = state.durableNames
            state.unsyncedNames = []
            Self.restart(&state)
        }
    }

    /// The process starts again after a kill: the page cache is still there.
    package func killProcess() {
        state.withLock { Self.restart(&$0) }
    }

    /// Changes one bit, durably. False when the file is shorter.
    package func flipBit(_ path: String, at offset: Int, bit: Int) -> Bool {
        state.withLock { state in
            guard let id = state.names[path], var inode = state.inodes[id], offset < inode.live.count else {
                return false
            }
            inode.live[offset] ^= 1 << UInt8(bit)
            if offset < inode.durable.count { inode.durable[offset] ^= 1 << UInt8(bit) }
            state.inodes[id] = inode
            return true
        }
    }

    /// All files and their lengths.
    package func contents() -> [(path: String, length: Int)] {
        state.withLock { state in
            state.names.sorted { $0.key < $1.key }.map { ($0.key, state.inodes[$0.value]?.live.count ?? 0) }
        }
    }

    private static func restart(_ state: inout State) {
        state.locks = []
        state.hasStopped = false
        state.plan.operationsUntilCrash = nil
        state.generation += 1
    }

    /// An unsynced write at a power loss: each sector was written, or not.
    private static func tear(_ write: UnsyncedWrite, into inode: inout Inode, _ state: inout State) {
        // A third each: wholly lost, wholly written, sector by sector.
        let fate = random(&state) % 3
        guard fate != 0 else { return }
        var start = 0
        while start < write.bytes.count {
            let end = min(write.bytes.count, ((write.offset + start) / sector + 1) * sector - write.offset)
            if fate == 1 || random(&state) & 1 == 0 {
                write.bytes[start..<end].withUnsafeBytes { inode.durable.overwrite(at: write.offset + start, with: $0) }
            }
            start = end
        }
    }

    /// SplitMix64.
    private static func random(_ state: inout State) -> UInt64 {
        state.random &+= 0x9E37_79B9_7F4A_7C15
        var value = state.random
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    // MARK: Names

    package func createDirectory(_ path: String) {}

    package func list(_ path: String) -> [String] {
        state.withLock { MemoryFileSystem.names(in: path, of: $0.names.keys) }
    }

    package func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let (inode, generation) = try attempt { (state) throws(FileError) in
            if let id = state.names[path] { return (id, state.generation) }
            guard case .create = mode else { throw FileError(errno: ENOENT) }
            try Self.countOperation(&state)
            let id = state.nextInode
            state.nextInode += 1
            state.inodes[id] = Inode()
            Self.change(.create(path, id), &state)
            return (id, state.generation)
        }
        return FaultyFile(self, inode, generation)
    }

    package func rename(_ path: String, to target: String) throws(FileError) {
        try attempt { (state) throws(FileError) in
            try Self.countOperation(&state)
            guard state.names[path] != nil else { throw FileError(errno: ENOENT) }
            Self.change(.rename(path, target), &state)
        }
    }

    package func remove(_ path: String) throws(FileError) {
        try attempt { (state) throws(FileError) in
            try Self.countOperation(&state)
            guard state.names[path] != nil else { throw FileError(errno: ENOENT) }
            Self.change(.remove(path), &state)
        }
    }

    /// As with a journal, earlier changes in other directories become durable too.
    package func syncDirectory(_ path: String) throws(FileError) {
        try attempt { (state) throws(FileError) in
            try Self.countOperation(&state)
            state.durableNames = state.names
            state.unsyncedNames = []
        }
    }

    package func space(at path: String) throws(FileError) -> (free: Int64, total: Int64) {
        try attempt { (state) throws(FileError) in
            (max(0, state.plan.capacity - Self.used(state)), state.plan.capacity)
        }
    }

    package func lock(_ path: String) throws(FileError) -> any File {
        let generation = try attempt { (state) throws(FileError) in
            guard state.locks.insert(path).inserted else { throw FileError(errno: EWOULDBLOCK) }
            return state.generation
        }
        return LockFile { [weak self] in
            self?.state.withLock { state in
                if state.generation == generation { state.locks.remove(path) }
            }
        }
    }

    private static func change(_ change: NameChange, _ state: inout State) {
        apply(change, to: &state.names)
        state.unsyncedNames.append(change)
    }

    private static func apply(_ change: NameChange, to names: inout [String: Int]) {
        switch change {
        case .create(let path, let id): names[path] = id
        case .rename(let path, let target): names[target] = names.removeValue(forKey: path)
        case .remove(let path): names[path] = nil
        }
    }

    // MARK: Files

    fileprivate func read(
        _ id: Int, _ generation: Int, _ buffer: UnsafeMutableRawBufferPointer, _ offset: Int64
    ) throws(FileError) -> Int {
        try attempt(generation) { (state) throws(FileError) in
            state.inodes[id]?.live.copy(to: buffer, from: Int(offset)) ?? 0
        }
    }

    fileprivate func length(_ id: Int, _ generation: Int) throws(FileError) -> Int64 {
        try attempt(generation) { (state) throws(FileError) in Int64(state.inodes[id]?.live.count ?? 0) }
    }

    fileprivate func write(
        _ id: Int, _ generation: Int, _ bytes: UnsafeRawBufferPointer, _ offset: Int64
    ) throws(FileError) {
        try attempt(generation) { (state) throws(FileError) in
            let length = Int64(state.inodes[id]?.live.count ?? 0)
            let growth = max(0, offset + Int64(bytes.count) - length)
            let free = max(0, state.plan.capacity - Self.used(state))
            // A full disk takes a part of the write before it says so.
            let count = growth > free ? max(0, bytes.count - Int(growth - free)) : bytes.count
            let part = bytes.part(0, count)
            state.inodes[id]?.live.overwrite(at: Int(offset), with: part)
            state.inodes[id]?.unsynced.append(UnsyncedWrite(offset: Int(offset), bytes: [UInt8](part)))
            // After the change: the last write before a crash may reach the disk, or not.
            try Self.countOperation(&state)
            if count < bytes.count { throw FileError(errno: ENOSPC) }
        }
    }

    fileprivate func sync(_ id: Int, _ generation: Int) throws(FileError) {
        try attempt(generation) { (state) throws(FileError) in
            try Self.countOperation(&state)
            if let left = state.plan.syncsUntilFailure {
                state.plan.syncsUntilFailure = left - 1
                if left <= 1 { throw FileError(errno: EIO) }
            }
            guard var inode = state.inodes.removeValue(forKey: id) else { return }
            for write in inode.unsynced {
                write.bytes.withUnsafeBytes { inode.durable.overwrite(at: write.offset, with: $0) }
            }
            inode.unsynced = []
            state.inodes[id] = inode
        }
    }

    // MARK: Parts

    private static func used(_ state: State) -> Int64 {
        state.names.values.reduce(0) { $0 + Int64(state.inodes[$1]?.live.count ?? 0) }
    }

    private static func countOperation(_ state: inout State) throws(FileError) {
        state.operations += 1
        guard let left = state.plan.operationsUntilCrash else { return }
        state.plan.operationsUntilCrash = left - 1
        guard left <= 1 else { return }
        state.hasStopped = true
        throw FileError(errno: EIO)
    }

    /// Everything fails once the machine has stopped, and for files of a machine that is gone.
    private func attempt<Value: Sendable>(
        _ generation: Int? = nil, _ body: (inout State) throws(FileError) -> Value
    ) throws(FileError) -> Value {
        let result: Result<Value, FileError> = state.withLock { state in
            if state.hasStopped || generation != nil && generation != state.generation {
                return .failure(FileError(errno: EIO))
            }
            do throws(FileError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

/// A file of a `FaultyFileSystem`.
private final class FaultyFile: File {
    private let fileSystem: FaultyFileSystem
    private let inode: Int
    private let generation: Int

    init(_ fileSystem: FaultyFileSystem, _ inode: Int, _ generation: Int) {
        self.fileSystem = fileSystem
        self.inode = inode
        self.generation = generation
    }

    func length() throws(FileError) -> Int64 { try fileSystem.length(inode, generation) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        try fileSystem.read(inode, generation, buffer, offset)
    }

    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int? {
        try read(into: buffer, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        try fileSystem.write(inode, generation, bytes, offset)
    }

    func sync() throws(FileError) { try fileSystem.sync(inode, generation) }
    func allocate(at offset: Int64, count: Int64) {}
}
