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

/// How a device stands in a partition.
package enum PartitionStanding: Equatable, Sendable {
    /// It has everything that was acknowledged, or missed it like any replica may.
    case full
    /// It belongs to the partition since lately and has not got everything yet; `source` is the device whose place it took, if there is one.
    case behind(source: UInt16?)
    /// The partition is not its own.
    case foreign
}

/// The partitions in which a device is behind: it belongs to them since a change of the ring, or its disk was emptied, and it has not yet got
/// everything that was acknowledged before. Until then what it has not must not count as absent.
///
/// Kept in the file `behind` of the device, `Documentation/formats/device-log.md`; without one the device is behind nowhere.
final class Standing: Sendable {
    struct Behind: Equatable {
        var partPower = 0
        /// With the device whose place it took.
        var partitions: [UInt32: UInt16?] = [:]
    }

    /// The partitions of a space that are the device's own.
    private struct Members {
        var partPower: Int
        var bits: [UInt64]

        init(partPower: Int, _ partitions: Set<UInt32>) {
            self.partPower = partPower
            bits = [UInt64](repeating: 0, count: (1 << partPower) / 64 + 1)
            for partition in partitions { bits[Int(partition / 64)] |= 1 << UInt64(partition % 64) }
        }

        func contains(_ partition: Int) -> Bool { bits[partition / 64] >> UInt64(partition % 64) & 1 == 1 }
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
    private static let noSource = UInt16.max

    private let path: String
    private let directory: DeviceDirectory
    private let state: Mutex<State>
    /// Known once the device was placed.
    private let members = Mutex<[PartitionSpace: Members]>([:])
    /// Of most devices at most times; asked by every read.
    private let isBehindAnywhere: Atomic<Bool>

    /// Reads the file.
    init(_ directory: DeviceDirectory) throws(DeviceLogError) {
        self.directory = directory
        path = "\(directory.path)/behind"
        let bytes: [UInt8]?
        do { bytes = try directory.fileSystem.readFile(path, limit: Self.limit) } catch { throw DeviceLogError(error) }
        if let version = bytes.flatMap({ Self.version(of: $0) }), version != Self.version {
            throw .otherFormat(path, version, known: Self.version)
        }
        guard let found = bytes.map({ Self.decode($0) }) ?? State() else {
            throw .refused(reason: "\(path) is damaged: empty the directory, and the device is filled by the others")
        }
        state = Mutex(found)
        isBehindAnywhere = Atomic(found.isBehind)
    }

    func standing(_ space: PartitionSpace, _ hash: PathHash) -> PartitionStanding {
        let isOwn = members.withLock { members in
            members[space].map { $0.contains(hash.partition(partPower: $0.partPower)) } ?? true
        }
        guard isOwn else { return .foreign }
        guard isBehindAnywhere.load(ordering: .relaxed) else { return .full }
        return state.withLock { state in
            if state.everywhere { return .behind(source: nil) }
            guard let behind = state.spaces[space],
                let source = behind.partitions[UInt32(hash.partition(partPower: behind.partPower))]
            else { return .full }
            return .behind(source: source)
        }
    }

    /// Whether all of them are known not to be the device's own.
    func areForeign(_ space: PartitionSpace, _ partitions: [UInt32]) -> Bool {
        members.withLock { members in
            guard let members = members[space] else { return false }
            return partitions.allSatisfy { $0 < 1 << UInt32(members.partPower) && !members.contains(Int($0)) }
        }
    }

    func setMembers(_ space: PartitionSpace, partPower: Int, _ partitions: Set<UInt32>) {
        members.withLock { $0[space] = Members(partPower: partPower, partitions) }
    }

    var isBehind: Bool { isBehindAnywhere.load(ordering: .relaxed) }

    var behindCount: Int {
        guard isBehind else { return 0 }
        // Behind everywhere until it is placed: in how many partitions that is, nobody knows yet.
        return state.withLock { max(1, $0.spaces.values.reduce(0) { $0 + $1.partitions.count }) }
    }

    func partitions(_ space: PartitionSpace) -> [UInt32: UInt16?] {
        state.withLock { $0.spaces[space]?.partitions ?? [:] }
    }

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
            for (partition, source) in behind.partitions.sorted(by: { $0.key < $1.key }) {
                bytes.append(little: partition)
                bytes.append(little: source ?? noSource)
            }
        }
        bytes.append(little: bytes.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes
    }

    /// Of which version an undamaged file is.
    private static func version(of bytes: [UInt8]) -> UInt32? {
        bytes.withUnsafeBytes { bytes in
            guard bytes.count >= 12, let base = bytes.baseAddress, base.get(UInt32.self, at: 0) == magic,
                CRC32C.checksum(bytes.part(0, bytes.count - 4)) == base.get(UInt32.self, at: bytes.count - 4)
            else { return nil }
            return base.get(UInt32.self, at: 4)
        }
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
                    Int(partitions) * 6 <= reader.remaining
                else { return nil }
                var behind = Behind(partPower: Int(partPower))
                for _ in 0..<partitions {
                    guard let partition = reader.next(UInt32.self), let source = reader.next(UInt16.self) else {
                        return nil
                    }
                    behind.partitions[partition] = .some(source == noSource ? nil : source)
                }
                state.spaces[PartitionSpace(kind: kind, policy: policy)] = behind
            }
            return state
        }
    }
}

extension DeviceLog {
    /// How the device stands in the partition of a hash; `full` before it was placed, unless it is a newcomer.
    package func standing(_ space: PartitionSpace, _ hash: PathHash) -> PartitionStanding {
        standing.standing(space, hash)
    }

    /// Whether none of them is the device's own any more, and it takes no writes of clients for them.
    package func areForeign(_ space: PartitionSpace, _ partitions: [UInt32]) -> Bool {
        standing.areForeign(space, partitions)
    }

    /// Whether there is any partition in which the device is behind.
    package var isBehind: Bool { standing.isBehind }

    /// In how many partitions of all spaces the device is behind.
    package var behindCount: Int { standing.behindCount }

    /// The partitions of a space in which the device is behind, with the devices whose places it took.
    package func behind(_ space: PartitionSpace) -> [UInt32: UInt16?] { standing.partitions(space) }

    /// Says which partitions are the device's own from here on. It is behind in those that are new to it, and in no others that are not its own any
    /// more. What is noted is durable on return; blocks.
    ///
    /// - Parameters:
    ///   - new: partitions that the device belongs to since now, with the device whose place it took.
    ///   - all: all partitions that it belongs to; it is behind in all of them when it was opened as a newcomer and not placed yet.
    package func place(
        _ space: PartitionSpace, partPower: Int, new: [UInt32: UInt16?], all: Set<UInt32>
    ) throws(DeviceLogError) {
        try standing.change { state in
            var behind = state.spaces[space] ?? Standing.Behind()
            behind.partPower = partPower
            behind.partitions.merge(new) { old, _ in old }
            if state.everywhere { for partition in all { behind.partitions[partition] = .some(new[partition] ?? nil) } }
            behind.partitions = behind.partitions.filter { all.contains($0.key) }
            state.spaces[space] = behind.partitions.isEmpty ? nil : behind
        }
        standing.setMembers(space, partPower: partPower, all)
    }

    /// Every space was placed: a newcomer is behind in those partitions and nowhere else. Durable on return; blocks.
    package func placed() throws(DeviceLogError) {
        try standing.change { $0.everywhere = false }
    }

    /// The device has everything of these partitions that was acknowledged before it belonged to them. Durable on return; blocks.
    package func caughtUp(_ space: PartitionSpace, _ partitions: Set<UInt32>) throws(DeviceLogError) {
        try standing.change { state in
            guard var behind = state.spaces[space] else { return }
            behind.partitions = behind.partitions.filter { !partitions.contains($0.key) }
            state.spaces[space] = behind.partitions.isEmpty ? nil : behind
        }
    }
}
