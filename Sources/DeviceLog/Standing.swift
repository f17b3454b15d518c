package import Ring
internal import Synchronization

/// One ring's worth of partitions on a device: the objects of a storage policy, the containers, or the accounts.
package struct PartitionSpace: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case objects = 0
        case containers = 1
        case accounts = 2
    }

    package let kind: Kind
    /// Of objects; 0 otherwise.
    package let policy: UInt8

    package static func objects(_ policy: UInt8) -> PartitionSpace { PartitionSpace(kind: .objects, policy: policy) }
    package static let containers = PartitionSpace(kind: .containers, policy: 0)
    package static let accounts = PartitionSpace(kind: .accounts, policy: 0)
}

/// The partitions in which a device is behind: it belongs to them since a change of the ring, or its disk was emptied, and it has not yet got
/// everything that was acknowledged before. Until then what it has not must not count as absent.
///
/// Kept in the file `behind` of the device, `Documentation/formats/device-log.md`; without one the device is behind nowhere.
final class Standing: Sendable {
    struct Behind: Equatable {
        var partPower = 0
        var partitions: Set<UInt32> = []
    }

    struct State: Equatable {
        /// Of a device whose place in the rings is not known yet.
        var everywhere = false
        var spaces: [PartitionSpace: Behind] = [:]

        var isBehind: Bool { everywhere || spaces.values.contains { !$0.partitions.isEmpty } }
    }

    private static let magic: UInt32 = 0x4842_4652  // "RFBH"
    private static let version: UInt32 = 1
    private static let limit = 64 << 20

    private let path: String
    private let directory: DeviceDirectory
    private let state: Mutex<State>
    /// Of most devices at most times; asked by every read.
    private let isBehindAnywhere: Atomic<Bool>

    /// Reads the file.
    init(_ directory: DeviceDirectory) throws(DeviceLogError) {
        self.directory = directory
        path = "\(directory.path)/behind"
        let bytes: [UInt8]?
        do { bytes = try directory.fileSystem.readFile(path, limit: Self.limit) } catch { throw DeviceLogError(error) }
        guard let found = bytes.map({ Self.decode($0) }) ?? State() else {
            throw .refused(reason: "\(path) is damaged: empty the directory, and the device is filled by the others")
        }
        state = Mutex(found)
        isBehindAnywhere = Atomic(found.isBehind)
    }

    func isBehind(_ space: PartitionSpace, _ hash: PathHash) -> Bool {
        guard isBehindAnywhere.load(ordering: .relaxed) else { return false }
        return state.withLock { state in
            if state.everywhere { return true }
            guard let behind = state.spaces[space] else { return false }
            return behind.partitions.contains(UInt32(hash.partition(partPower: behind.partPower)))
        }
    }

    var isBehind: Bool { isBehindAnywhere.load(ordering: .relaxed) }

    func partitions(_ space: PartitionSpace) -> Set<UInt32> { state.withLock { $0.spaces[space]?.partitions ?? [] } }

    /// Changes the state and makes it durable before anybody sees it.
    func change(_ body: (inout State) -> Void) throws(DeviceLogError) {
        let result: Result<Void, FileError> = state.withLock { state in
            var changed = state
            body(&changed)
            guard changed != state else { return .success(()) }
            do throws(FileError) {
                try write(changed)
            } catch {
                return .failure(error)
            }
            state = changed
            isBehindAnywhere.store(changed.isBehind, ordering: .relaxed)
            return .success(())
        }
        do { try result.get() } catch { throw DeviceLogError(error) }
    }

    private func write(_ state: State) throws(FileError) {
        let temporary = path + ".new"
        let fileSystem = directory.fileSystem
        try fileSystem.removeIfThere(temporary)
        let file = try fileSystem.open(temporary, .create)
        try Self.encode(state).withBytes { (bytes) throws(FileError) in try file.write(bytes, at: 0) }
        try file.sync()
        try fileSystem.rename(temporary, to: path)
        try fileSystem.syncDirectory(directory.path)
    }

    // MARK: Format

    static func encode(_ state: State) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: magic)
        bytes.append(little: version)
        bytes.append(little: UInt32(state.everywhere ? 1 : 0))
        bytes.append(little: UInt32(state.spaces.count))
        for (space, behind) in state.spaces.sorted(by: {
            ($0.key.kind.rawValue, $0.key.policy) < ($1.key.kind.rawValue, $1.key.policy)
        }) {
            bytes += [space.kind.rawValue, space.policy, UInt8(behind.partPower), 0]
            bytes.append(little: UInt32(behind.partitions.count))
            for partition in behind.partitions.sorted() { bytes.append(little: partition) }
        }
        bytes.append(little: bytes.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes
    }

    /// Nil when damaged.
    static func decode(_ bytes: [UInt8]) -> State? {
        bytes.withUnsafeBytes { bytes in
            guard bytes.count >= 20 else { return nil }
            let content = bytes.part(0, bytes.count - 4)
            guard CRC32C.checksum(content) == bytes.baseAddress!.get(UInt32.self, at: content.count) else { return nil }
            var reader = ByteReader(content)
            guard reader.next(UInt32.self) == magic, reader.next(UInt32.self) == version,
                let flags = reader.next(UInt32.self), let count = reader.next(UInt32.self)
            else { return nil }
            var state = State(everywhere: flags & 1 != 0)
            for _ in 0..<count {
                guard let kind = reader.next(UInt8.self).flatMap({ PartitionSpace.Kind(rawValue: $0) }),
                    let policy = reader.next(UInt8.self), let partPower = reader.next(UInt8.self), partPower <= 32,
                    reader.next(UInt8.self) != nil, let partitions = reader.next(UInt32.self),
                    Int(partitions) * 4 <= reader.remaining
                else { return nil }
                var behind = Behind(partPower: Int(partPower))
                for _ in 0..<partitions {
                    if let partition = reader.next(UInt32.self) { behind.partitions.insert(partition) }
                }
                state.spaces[PartitionSpace(kind: kind, policy: policy)] = behind
            }
            return state
        }
    }
}

extension DeviceLog {
    /// Whether what is not here may have been acknowledged by others before this device belonged to the partition.
    package func isBehind(_ space: PartitionSpace, _ hash: PathHash) -> Bool { standing.isBehind(space, hash) }

    /// Whether there is any partition like that.
    package var isBehind: Bool { standing.isBehind }

    /// The partitions of a space in which the device is behind.
    package func behind(_ space: PartitionSpace) -> Set<UInt32> { standing.partitions(space) }

    /// From here on the device is behind in these partitions too, and in no others that it does not belong to any more. Durable on return; blocks.
    ///
    /// - Parameters:
    ///   - new: partitions that the device belongs to since now.
    ///   - all: all partitions that it belongs to; it is behind in all of them when it was opened as a newcomer and not placed yet.
    package func place(
        _ space: PartitionSpace, partPower: Int, new: Set<UInt32>, all: Set<UInt32>
    ) throws(DeviceLogError) {
        try standing.change { state in
            var behind = state.spaces[space] ?? Standing.Behind()
            behind.partPower = partPower
            behind.partitions = state.everywhere ? all : behind.partitions.union(new).intersection(all)
            state.spaces[space] = behind.partitions.isEmpty ? nil : behind
        }
    }

    /// Every space was placed: a newcomer is behind in those partitions and nowhere else. Durable on return; blocks.
    package func placed() throws(DeviceLogError) {
        try standing.change { $0.everywhere = false }
    }

    /// The device has everything of these partitions that was acknowledged before it belonged to them. Durable on return; blocks.
    package func caughtUp(_ space: PartitionSpace, _ partitions: Set<UInt32>) throws(DeviceLogError) {
        try standing.change { state in
            guard var behind = state.spaces[space] else { return }
            behind.partitions.subtract(partitions)
            state.spaces[space] = behind.partitions.isEmpty ? nil : behind
        }
    }
}
