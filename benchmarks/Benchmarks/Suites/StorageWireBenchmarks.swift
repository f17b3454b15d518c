import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// Messages between nodes.
enum StorageWireBenchmarks {
    static let all = [
        Benchmark("wire.encode-put", "the message of a put of 4 KiB") { _ in
            let request = put(bodyLength: 4096)
            return Workload { operations in
                var sum: UInt64 = 0
                for _ in 0..<operations {
                    var buffer = ByteBuffer()
                    sum &+= UInt64(request.encode(into: &buffer)?.readableBytes ?? 0) &+ UInt64(buffer.readableBytes)
                }
                return sum
            }
        },
        Benchmark("wire.decode-put", "the message of a put of 4 KiB") { _ in
            var message = ByteBuffer()
            guard let body = put(bodyLength: 4096).encode(into: &message) else {
                throw BenchmarkFailure("a put has no body")
            }
            message.writeImmutableBuffer(body)
            let payload = message
            return Workload { operations in
                var sum: UInt64 = 0
                for _ in 0..<operations {
                    guard case .putObject(let put) = try StorageRequest(decoding: payload) else {
                        throw BenchmarkFailure("a put became something else")
                    }
                    sum &+= UInt64(put.body.readableBytes)
                }
                return sum
            }
        },
        Benchmark("wire.reply", "encoding and decoding the reply to a put") { _ in
            Workload { operations in
                var sum: UInt64 = 0
                for _ in 0..<operations {
                    var buffer = ByteBuffer()
                    _ = StorageReply.stored(rowStored: true).encode(into: &buffer)
                    guard case .stored(let rowStored) = try StorageReply(decoding: buffer) else {
                        throw BenchmarkFailure("a reply became something else")
                    }
                    sum &+= rowStored ? 1 : 2
                }
                return sum
            }
        },
        Benchmark(
            "wire.call", "a small call over loopback, one at a time", checks: [.wall(.wakeup), .cpu(.md5)]
        ) { _ in
            try calling(with: .readObject(ReadObject(address: address, wanted: .version)), clients: 1)
        },
        Benchmark("wire.calls-64", "a small call over loopback, 64 under way") { _ in
            try calling(with: .readObject(ReadObject(address: address, wanted: .version)), clients: 64)
        },
        Benchmark("wire.puts-64", "a put of 4 KiB over loopback, 64 under way") { _ in
            try calling(with: put(bodyLength: 4096), clients: 64)
        },
    ]

    private static let address = ObjectAddress(device: 1, policy: 0, hash: PathHash(high: 1, low: 2))

    private static func put(bodyLength: Int) -> StorageRequest {
        let head = ObjectHead(
            account: Array("AUTH_test".utf8), container: Array("photographs".utf8),
            object: Array("holidays/2026/picture-1.jpg".utf8), size: Int64(bodyLength),
            etag: [UInt8](repeating: 9, count: 16), contentType: Array("image/jpeg".utf8),
            headers: [.init(name: Array("X-Object-Meta-Mtime".utf8), value: Array("1750000000.123456".utf8))])
        return .putObject(
            PutObject(
                address: address, timestamp: Timestamp(ticks: 1), condition: .none,
                row: RowTarget(device: 2, container: PathHash(high: 3, low: 4)), head: head.encoded(),
                body: ByteBuffer(repeating: 7, count: bodyLength)))
    }

    /// A server and a client, each with an event loop of its own.
    private static func calling(with request: StorageRequest, clients: Int) throws -> Workload {
        guard let key = ClusterKey(Array("a key of many bytes".utf8)) else {
            throw BenchmarkFailure("the key is too short")
        }
        let credentials = WireCredentials(
            clusterId: Array("benchmark".utf8), key: key, random: WireCredentials.systemRandom)
        let logger = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
        let groups = (0..<2).map { _ in MultiThreadedEventLoopGroup(numberOfThreads: 1) }
        let server = try StorageServer.start(
            host: "127.0.0.1", port: 0, group: groups[0], handler: Acknowledging(), credentials: credentials,
            logger: logger
        ).wait()
        let node = RemoteNode(
            host: "127.0.0.1", port: server.port, group: groups[1], credentials: credentials, logger: logger)
        let eventLoop = groups[1].next()
        let loop = ClosedLoop(clients: clients, on: eventLoop)
        let receiver = Answered(loop)
        loop.begin = { _ in
            node.call(request, deadline: eventLoop.now + .seconds(30), on: eventLoop, receiver: receiver, tag: 0)
        }
        return Workload(
            run: { try loop.run($0) },
            finish: {
                loop.begin = { _ in }
                try node.close().wait()
                try server.close(within: .seconds(1)).wait()
                for group in groups { try group.syncShutdownGracefully() }
            })
    }
}

/// A storage node that has done everything before it was asked.
private final class Acknowledging: StorageHandler {
    func handle(_ request: StorageRequest, call: ServerCall) { call.reply(.stored(rowStored: true)) }
    func ended(_ call: ServerCall) {}
}

/// Ends an operation of a closed loop when its reply is there.
private final class Answered: CallReceiver {
    private let loop: ClosedLoop

    init(_ loop: ClosedLoop) { self.loop = loop }

    func received(_ reply: StorageReply, tag: Int) {
        if case .stored = reply { loop.finished() } else { loop.finished("a call was answered with \(reply)") }
    }
}
