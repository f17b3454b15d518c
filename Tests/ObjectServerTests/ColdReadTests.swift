import DeviceLog
import Glibc
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Synchronization
import Testing

@testable import ObjectServer

/// Bodies that are partly in memory and partly on the disk.
struct ColdReadTests {
    private static let length = 2 << 20
    private static let piece = 256 << 10

    @Test(arguments: 0..<2 as Range<UInt64>) func piecesArriveInTheOrderInWhichTheyWereAskedFor(seed: UInt64)
        async throws
    {
        let files = HalfColdFileSystem(seed: seed)
        var configuration = Configuration()
        configuration.segmentSize = 1 << 20
        configuration.zeroAhead = 0
        configuration.reserve = 0
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let log = try DeviceLog.open(
            directory: "/device", identity: DeviceIdentity(clusterID: "test", deviceID: 0), fileSystem: files,
            configuration: configuration, logger: logger)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let workers = NIOThreadPool(numberOfThreads: 4)
        workers.start()
        let body = (0..<Self.length).map { UInt8(truncatingIfNeeded: $0 / Self.piece &* 37 &+ $0) }
        let key = ObjectKey(policy: 0, hash: PathHash(high: 1, low: 2))
        let blob = try log.stageBlob(expectedLength: Int64(Self.length))
        try blob.append(ByteBuffer(bytes: body))
        try blob.seal()
        guard
            case .stored = log.perform(
                .put(key, timestamp: 5, metadata: ByteBuffer(), body: .blob(blob), condition: .none))
        else { throw Unexpected() }

        let server = ObjectServer(
            devices: [0: log], nodes: NoNodes(), workers: workers, sinks: EventLoopSinks(), logger: logger)
        let found = try await read(key, LocalNode(handler: server), group.next())
        #expect(found == body, "seed \(seed)")
        #expect(files.coldReads > 0)
        log.close()
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    /// Asks for all pieces at once and puts the answers together as they come.
    private func read(_ key: ObjectKey, _ node: LocalNode, _ loop: any EventLoop) async throws -> [UInt8] {
        await withCheckedContinuation { continuation in
            loop.execute {
                let pieces = Pieces(count: Self.length / Self.piece) { continuation.resume(returning: $0) }
                let address = ObjectAddress(device: 0, policy: key.policy, hash: key.hash)
                pieces.call = node.call(
                    .readObject(ReadObject(address: address, wanted: .body)), deadline: .now() + .seconds(30), on: loop,
                    receiver: pieces, tag: 0)
                pieces.next()
            }
        }
    }

    private struct Unexpected: Error {}

    private final class NoNodes: NodeDirectory {
        func node(ofDevice device: UInt16) -> (any StorageNode)? { nil }
    }

    /// Keeps itself through its call until all have come.
    private final class Pieces: CallReceiver {
        var call: (any StorageCall)?
        private let count: Int
        private let done: ([UInt8]) -> Void
        private var bytes: [UInt8] = []
        private var answers = 0
        private var isOpen = false

        init(count: Int, done: @escaping ([UInt8]) -> Void) {
            self.count = count
            self.done = done
        }

        /// Once the object is open and the call is known, whichever comes last.
        func next() {
            guard isOpen, let call else { return }
            for index in 0..<count {
                call.send(
                    .readBody(
                        ReadBody(offset: Int64(index * ColdReadTests.piece), length: ColdReadTests.piece)))
            }
        }

        func received(_ reply: StorageReply, tag: Int) {
            switch reply {
            case .object:
                isOpen = true
                next()
            case .body(let piece):
                bytes += piece.readableBytesView
                answers += 1
            default: answers = count
            }
            if answers == count {
                call?.end()
                call = nil
                done(bytes)
            }
        }
    }
}

/// Files in memory of which every other read has to wait for the disk, for a while that the seed decides.
private final class HalfColdFileSystem: FileSystem {
    private let files = MemoryFileSystem(capacity: 1 << 30)
    fileprivate let random: Mutex<UInt64>
    private let cold = Atomic<Int>(0)

    var coldReads: Int { cold.load(ordering: .relaxed) }

    init(seed: UInt64) { random = Mutex(seed &* 0x9E37_79B9_7F4A_7C15 | 1) }

    fileprivate func draw() -> UInt64 {
        random.withLock { state in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }

    fileprivate func noteCold() { cold.wrappingAdd(1, ordering: .relaxed) }

    func createDirectory(_ path: String) throws(FileError) { files.createDirectory(path) }
    func list(_ path: String) throws(FileError) -> [String] { files.list(path) }
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        HalfColdFile(try files.open(path, mode), self)
    }
    func rename(_ path: String, to target: String) throws(FileError) { try files.rename(path, to: target) }
    func remove(_ path: String) throws(FileError) { try files.remove(path) }
    func syncDirectory(_ path: String) throws(FileError) { files.syncDirectory(path) }
    func space(at path: String) throws(FileError) -> (free: Int64, total: Int64) { files.space(at: path) }
    func lock(_ path: String) throws(FileError) -> any File { try files.lock(path) }
}

private final class HalfColdFile: File {
    private let file: any File
    private let system: HalfColdFileSystem

    init(_ file: any File, _ system: HalfColdFileSystem) {
        self.file = file
        self.system = system
    }

    func length() throws(FileError) -> Int64 { try file.length() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int {
        usleep(UInt32(system.draw() >> 32 % 3000))
        return try file.read(into: buffer, at: offset)
    }

    func readIfCached(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileError) -> Int? {
        if system.draw() >> 40 & 1 == 0 {
            system.noteCold()
            return nil
        }
        return try file.read(into: buffer, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        try file.write(bytes, at: offset)
    }
    func sync() throws(FileError) { try file.sync() }
    func allocate(at offset: Int64, count: Int64) throws(FileError) { try file.allocate(at: offset, count: count) }
}
