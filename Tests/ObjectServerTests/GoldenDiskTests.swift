import ContainerServer
import DeviceLog
import Foundation
import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire
import Testing

@testable import ObjectServer

/// A device that the program of commit 7636027 wrote, read by today's. `Tests/Fixtures/recorders/record_disk.py` says what was done to it.
@Suite(.timeLimit(.minutes(1)))
struct GoldenDiskTests {
    enum Start: CaseIterable {
        case asItWasLeft
        /// As after a loss of the index, or by a program that has another one.
        case fromTheLogAlone
    }

    private struct Expected {
        var name: String
        var size: Int
        var colour: String
        var deleteAt: Int64

        /// The same in record_disk.py.
        var body: [UInt8] {
            let line = Array("\(name)\n".utf8)
            return (0..<size).map { line[$0 % line.count] }
        }
    }

    @Test(arguments: Start.allCases)
    func everythingIsThere(_ start: Start) async throws {
        let disk = try GoldenDisk()
        if start == .fromTheLogAlone { try FileManager.default.removeItem(atPath: disk.path + "/device/index") }
        try await disk.serve { node, log in
            try await checkObjects(disk, node)
            try await checkListing(disk, node)
            let pending = try log.pendingUpdates(limit: 100)
            #expect(pending.count > 3)
            for update in pending { #expect(throws: Never.self) { try PendingUpdate(decoding: update.payload) } }
            let statistics = log.statistics()
            #expect(statistics.quarantined == 0)
            #expect(!log.isBehind)
        }
    }

    private func objects(_ disk: GoldenDisk) throws -> [Expected] {
        try #require(disk.contents["objects"]?.array).map {
            Expected(
                name: try #require($0["name"]?.string), size: try #require($0["size"]?.integer),
                colour: try #require($0["colour"]?.string),
                deleteAt: try #require($0["delete_at"]?.string.flatMap { Int64($0) }))
        }
    }

    private func checkObjects(_ disk: GoldenDisk, _ node: GoldenNode) async throws {
        let objects = try objects(disk)
        #expect(objects.count == 17)
        // What is longer lies in a file of its own.
        #expect(objects.contains { $0.size == 256 << 10 } && objects.contains { $0.size == 256 << 10 + 1 })
        for object in objects {
            let reply = try await node.read(disk.address(object.name), object.size)
            guard case .object(let found) = reply.0 else { throw Unexpected("\(object.name): \(reply.0)") }
            #expect(reply.1 == object.body, "\(object.name)")
            let head = try ObjectHead(decoding: found.head)
            #expect(head.object == Array(object.name.utf8) && head.container == Array("fruit".utf8))
            #expect(head.size == Int64(object.size) && head.deleteAt == object.deleteAt)
            #expect(head.contentType == Array("text/x-golden".utf8))
            let colour = head.headers.first { String(decoding: $0.name, as: UTF8.self) == "X-Object-Meta-Colour" }
            #expect(colour.map { String(decoding: $0.value, as: UTF8.self) } ?? "" == object.colour, "\(object.name)")
            #expect((found.timestamp > found.dataTimestamp) == !object.colour.isEmpty, "\(object.name)")
        }
        let deleted = try #require(disk.contents["deleted"]?.array).compactMap(\.string)
        #expect(deleted == ["grape", "never", "late11"])
        for name in deleted {
            let reply = try await node.read(disk.address(name), 0).0
            guard case .tombstone = reply else { throw Unexpected("\(name): \(reply)") }
        }
    }

    private func checkListing(_ disk: GoldenDisk, _ node: GoldenNode) async throws {
        let objects = try objects(disk)
        let reply = try await node.ask(.listTable(ListTable(table: disk.container, limit: 100)))
        guard case .listing(let listing) = reply else { throw Unexpected("\(reply)") }
        var reader = WireReader(listing.entries)
        var rows: [TableRow] = []
        while reader.remaining > 0 {
            guard case .row(let row) = try ListingEntry(from: &reader) else { throw Unexpected("a subdirectory") }
            rows.append(row)
        }
        #expect(rows.map { String(decoding: $0.name, as: UTF8.self) } == objects.map(\.name))
        #expect(rows.map(\.bytes) == objects.map { Int64($0.size) })
        for row in rows {
            let value = try ObjectRowValue(decoding: row.value)
            #expect(value.contentType == Array("text/x-golden".utf8))
        }
        let sum = try #require(listing.table.sums.first)
        #expect(sum.count == Int64(objects.count) && sum.bytes == objects.reduce(0) { $0 + Int64($1.size) })
        let head = try TableHead(decoding: try #require(listing.table.head))
        #expect(head.container == Array("fruit".utf8))
        #expect(head.metadata.contains { String(decoding: $0.name, as: UTF8.self) == "X-Container-Meta-Season" })
    }
}

private struct Unexpected: Error {
    let what: String
    init(_ what: String) { self.what = what }
}

/// The fixture, unpacked.
private final class GoldenDisk {
    let path: String
    let contents: JSONValue
    private let identity: DeviceIdentity
    private let hasher: PathHasher

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("golden-disk-\(UUID())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let fixture = tests.appendingPathComponent("Fixtures/disk-1.txt").path
        let unpack = Process()
        unpack.executableURL = URL(fileURLWithPath: "/bin/sh")
        unpack.arguments = ["-c", #"base64 -d "$1" | tar -xzf - -C "$2""#, "sh", fixture, path]
        try unpack.run()
        unpack.waitUntilExit()
        try #require(unpack.terminationStatus == 0)
        contents = try Self.json(path + "/contents.json")
        let device = try Self.json(path + "/device/device.json")
        identity = DeviceIdentity(
            clusterID: try #require(device["cluster"]?.string), deviceID: try #require(device["device"]?.integer))
        let cluster = try Self.json(path + "/cluster/cluster.json")
        hasher = PathHasher(
            prefix: Array(try #require(cluster["hash_prefix"]?.string).utf8),
            suffix: Array(try #require(cluster["hash_suffix"]?.string).utf8))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private static func json(_ path: String) throws -> JSONValue {
        try JSONValue(parsing: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))))
    }

    private var account: [UInt8] { Array((contents["account"]?.string ?? "").utf8) }
    private var device: UInt16 { UInt16(identity.deviceID) }

    func address(_ name: String) -> ObjectAddress {
        let hash = hasher.hash(account: account, container: Array("fruit".utf8), object: Array(name.utf8))
        return ObjectAddress(device: device, policy: 0, hash: hash)
    }

    var container: TableAddress {
        TableAddress(
            device: device, kind: .container, hash: hasher.hash(account: account, container: Array("fruit".utf8)))
    }

    /// Opens the device and lets `body` ask its servers.
    func serve(_ body: (GoldenNode, DeviceLog) async throws -> Void) async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        var configuration = Configuration()
        configuration.zeroAhead = 0
        configuration.reserve = 0
        let log = try DeviceLog.open(
            directory: path + "/device", identity: identity, configuration: configuration, logger: logger)
        let workers = NIOThreadPool(numberOfThreads: 2)
        workers.start()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let sinks = EventLoopSinks()
        let objects = ObjectServer(
            devices: [device: log], nodes: Nobody(), workers: workers, sinks: sinks, logger: logger)
        let containers = ContainerServer(devices: [device: log], workers: workers, sinks: sinks, logger: logger)
        try await body(
            GoldenNode(
                objects: LocalNode(handler: objects), containers: LocalNode(handler: containers), loop: group.next()),
            log)
        log.close()
        try await workers.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    private final class Nobody: NodeDirectory {
        func node(ofDevice device: UInt16) -> (any StorageNode)? { nil }
    }
}

/// The servers of the device.
private struct GoldenNode {
    let objects: LocalNode
    let containers: LocalNode
    let loop: any EventLoop

    func ask(_ request: StorageRequest) async throws -> StorageReply {
        try await loop.flatSubmit { [containers, loop] in containers.ask(request, within: .seconds(10), on: loop) }
            .get()
    }

    /// The answer to a read and all bytes of the body.
    func read(_ address: ObjectAddress, _ size: Int) async throws -> (StorageReply, [UInt8]) {
        await withCheckedContinuation { continuation in
            loop.execute { [objects, loop] in
                let reading = Reading(size: size) { continuation.resume(returning: ($0, $1)) }
                reading.call = objects.call(
                    .readObject(ReadObject(address: address, wanted: .body)), deadline: .now() + .seconds(10), on: loop,
                    receiver: reading, tag: 0)
                reading.pullIfOpen()
            }
        }
    }

    /// Keeps itself through its call until it is done.
    private final class Reading: CallReceiver {
        var call: (any StorageCall)?
        private let size: Int
        private let done: (StorageReply, [UInt8]) -> Void
        private var object: StorageReply?

        init(size: Int, done: @escaping (StorageReply, [UInt8]) -> Void) {
            self.size = size
            self.done = done
        }

        func received(_ reply: StorageReply, tag: Int) {
            switch reply {
            case .body(let bytes): finish(object ?? reply, Array(bytes.readableBytesView))
            case .object(let found):
                if let body = found.body { return finish(reply, Array(body.readableBytesView)) }
                if found.bodyLength == 0 { return finish(reply, []) }
                object = reply
                pullIfOpen()
            default: finish(reply, [])
            }
        }

        /// The answer may come before the call is known.
        func pullIfOpen() {
            if object != nil, let call { call.send(.readBody(ReadBody(offset: 0, length: size))) }
        }

        private func finish(_ reply: StorageReply, _ bytes: [UInt8]) {
            done(reply, bytes)
            call?.end()
            call = nil
        }
    }
}
