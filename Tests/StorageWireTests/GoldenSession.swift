import NIOCore
import NIOPosix
import Synchronization

@testable import StorageWire

/// A conversation that is the same every time, and what went over the wire meanwhile.
enum GoldenSession {
    /// Nonces that anybody can foresee.
    static let credentials = WireCredentials(
        clusterId: Array("golden".utf8), key: ClusterKey(Array("a key of many bytes".utf8))!,
        random: { [UInt8](repeating: 7, count: $0) })

    /// Requests that are a call of their own.
    private static let alone = GoldenMessages.requests.map(\.message).filter {
        switch $0 {
        case .openUpload, .chunk, .commitUpload, .readBody: false
        case .readObject(let read): read.wanted != .body
        default: true
        }
    }

    /// Makes every call over `node`, one after the other.
    ///
    /// - Returns: the answers.
    static func converse(with node: any StorageNode, on loop: any EventLoop) async -> [StorageReply] {
        var replies: [StorageReply] = []
        for index in 0..<GoldenMessages.replies.count {
            replies.append(await node.ask(alone[index % alone.count], on: loop))
        }
        let upload = TestCall(node, GoldenMessages.openUpload, within: .seconds(10), on: loop)
        replies.append(await upload.reply(0))
        upload.send(GoldenMessages.chunk)
        replies.append(await upload.reply(1))
        upload.send(GoldenMessages.commitUpload)
        replies.append(await upload.reply(2))
        let read = TestCall(node, GoldenMessages.readObject, within: .seconds(10), on: loop)
        replies.append(await read.reply(0))
        read.send(GoldenMessages.readBody)
        replies.append(await read.reply(1))
        read.end()
        // Behind the end, which has no answer.
        replies.append(await node.ask(.status, on: loop))
        return replies
    }

    /// Frames as lines, both ways: `client HEX` and `server HEX`. Every deadline is taken out, since it tells the time.
    static func record(client: WireLimits, server limits: WireLimits) async throws -> [String] {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await StorageServer.start(
            host: "127.0.0.1", port: 0, group: group, handler: GoldenHandler(), credentials: credentials,
            limits: limits, logger: Fixture.silent
        ).get()
        let bytes = TappedBytes()
        let tap = try await Tap.start(to: server.port, bytes, group)
        let node = RemoteNode(
            host: "127.0.0.1", port: tap.localAddress?.port ?? 0, group: group, credentials: credentials,
            limits: client, logger: Fixture.silent)
        _ = await converse(with: node, on: group.any())
        try await node.close().get()
        try await tap.close()
        try await server.close(within: .seconds(1)).get()
        try await group.shutdownGracefully()
        return try lines("client", bytes.fromClient.withLock { $0 }) + lines("server", bytes.fromServer.withLock { $0 })
    }

    private static func lines(_ side: String, _ bytes: ByteBuffer) throws -> [String] {
        try frames(bytes).map { "\(side) \(Hex.encode(encode($0)))" }
    }

    /// The frames of a stream without their deadlines.
    static func frames(_ bytes: ByteBuffer) throws -> [Frame] {
        var decoder = FrameDecoder(maximumPayload: Frame.maximumPayload)
        decoder.append(bytes)
        var frames: [Frame] = []
        while var frame = try decoder.next() {
            if [.request, .followUp].contains(frame.header.kind) { frame.header.remaining = FrameHeader.noDeadline }
            frames.append(frame)
        }
        return frames
    }

    static func encode(_ frame: Frame) -> ByteBuffer {
        var output = FrameOutput()
        _ = output.append(frame.header) { _ in frame.payload }
        var bytes = ByteBuffer()
        while let piece = output.next() { bytes.writeImmutableBuffer(piece) }
        return bytes
    }
}

/// Bytes as lower-case hexadecimal digits.
enum Hex {
    static func encode(_ bytes: ByteBuffer) -> String {
        bytes.readableBytesView.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Nil for what is not a number of pairs of digits.
    static func decode(_ text: some StringProtocol) -> ByteBuffer? {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == text.utf8.count, digits.count % 2 == 0 else { return nil }
        return ByteBuffer(
            bytes: stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) })
    }
}

/// Answers the requests that are alone with all golden replies in turn, whatever was asked, and those of an upload and of a body as they should be.
final class GoldenHandler: StorageHandler {
    private let next = Mutex(0)

    func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .openUpload, .chunk: call.reply(.accepted(bytes: 6))
        case .commitUpload: call.reply(.stored(rowStored: true))
        case .readObject(let read) where read.wanted == .body:
            call.reply(GoldenMessages.replies.first { $0.name == "objectToPull" }!.message)
        case .readBody: call.reply(.body(ByteBuffer(string: "a body")))
        default:
            let index = next.withLock { next in
                defer { next += 1 }
                return next
            }
            call.reply(GoldenMessages.replies[index % GoldenMessages.replies.count].message)
        }
    }

    func ended(_ call: ServerCall) {}
}

/// What a connection carried.
private final class TappedBytes: Sendable {
    let fromClient = Mutex(ByteBuffer())
    let fromServer = Mutex(ByteBuffer())
}

/// Passes bytes on and keeps them.
private final class Tap: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let keep: (ByteBuffer) -> Void

    init(to other: any Channel, keep: @escaping (ByteBuffer) -> Void) {
        self.other = other
        self.keep = keep
    }

    /// A listener before the server at `port`.
    static func start(
        to port: Int, _ bytes: TappedBytes, _ group: any EventLoopGroup
    ) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in
                ClientBootstrap(group: client.eventLoop).channelOption(.autoRead, value: false)
                    .connect(host: "127.0.0.1", port: port).flatMapThrowing { server in
                        let up = Tap(to: server) { more in
                            bytes.fromClient.withLock { _ = $0.writeImmutableBuffer(more) }
                        }
                        let down = Tap(to: client) { more in
                            bytes.fromServer.withLock { _ = $0.writeImmutableBuffer(more) }
                        }
                        try client.pipeline.syncOperations.addHandler(up)
                        try server.pipeline.syncOperations.addHandler(down)
                        server.read()
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// Of the client's side, which is accepted only now; the server's is active already.
    func channelActive(context: ChannelHandlerContext) { context.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        keep(unwrapInboundIn(data))
        other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) { context.read() }
    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { other.close(promise: nil) }
}
