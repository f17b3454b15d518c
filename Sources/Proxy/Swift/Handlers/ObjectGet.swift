import Access
import Daemon
import HTTPServer
import NIOCore
import StorageWire

/// GET and HEAD of an object.
final class ObjectGet: ObjectRequest {
    private var read: ObjectRead?
    private var sender: BodySender?

    override func run() {
        guard let target = target() else { return }
        let wanted: ReadObject.Wanted = head.method == .head ? .head : .body
        let read = ObjectRead(loop, target: target, wanted: wanted, newest: isNewestWanted) { [unowned self] in
            answer($0)
        }
        self.read = read
        read.start()
    }

    // Closures that capture this request unowned make one call each: the connection drops the request with its answer, and the call
    // holds it until the rest is done.

    private func answer(_ outcome: ObjectRead.Outcome) {
        switch outcome {
        case .unavailable(let failure):
            fail(failure)
            finish()
        case .notFound:
            fail(SwiftError(Preconditions(head).missingStatus))
            finish()
        case .found(let reply): answer(reply)
        }
    }

    override func writabilityChanged(_ writable: Bool) {
        if writable { sender?.resume() } else { sender?.pause() }
    }

    override func disconnected(_ reason: DisconnectReason) {
        super.disconnected(reason)
        finish()
    }

    private func finish() {
        sender?.cancel()
        sender = nil
        read?.end()
        read = nil
    }

    private func answer(_ reply: ObjectReply) {
        guard let object = live(reply) else {
            fail(SwiftError(Preconditions(head).missingStatus))
            return finish()
        }
        var headers = headers(of: object, timestamp: reply.timestamp, dataTimestamp: reply.dataTimestamp)
        let preconditions = Preconditions(head)
        if !preconditions.isEmpty {
            switch preconditions.evaluate(etag: ByteText.hex(object.etag), timestamp: reply.timestamp.ticks) {
            case .proceed: break
            case .notModified:
                respond(.notModified, headers)
                return finish()
            case .failed:
                respond(.preconditionFailed, headers, body: ByteBuffer(bytes: SwiftErrorBody.html(412)))
                return finish()
            }
        }
        let size = UInt64(clamping: object.size)
        switch RangeHeader.resolve(head.value(of: "range"), size: size) {
        case .whole: send(reply, object, .ok, headers, ranges: [0..<size])
        case .single(let range):
            headers.append("Content-Range", bytes: RangeHeader.contentRange(range, size: size))
            send(reply, object, .partialContent, headers, ranges: [range])
        case .multiple(let ranges): sendParts(reply, object, ranges)
        case .unsatisfiable:
            headers.append("Content-Range", bytes: RangeHeader.unsatisfiedContentRange(size: size))
            respond(.rangeNotSatisfiable, headers, body: ByteBuffer(bytes: SwiftErrorBody.html(416)))
            finish()
        }
    }

    private func send(
        _ reply: ObjectReply, _ object: ObjectHead, _ status: HTTPStatus, _ headers: ResponseHeaders,
        ranges: [Range<UInt64>]
    ) {
        let range = ranges[0]
        if head.method != .head, let body = reply.body {
            api.metrics.bytesOut.add(UInt64(range.count))
            respond(
                status, headers, body: body.getSlice(at: body.readerIndex + Int(range.lowerBound), length: range.count))
            return finish()
        }
        start(status, headers, contentLength: Int64(range.count))
        guard head.method != .head, !range.isEmpty else {
            finished(status: status)
            return finish()
        }
        send([.object(Int64(range.lowerBound)..<Int64(range.upperBound))], of: reply, status)
    }

    private func sendParts(_ reply: ObjectReply, _ object: ObjectHead, _ ranges: [Range<UInt64>]) {
        let parts = MultipartByteRanges(
            ranges: ranges, size: UInt64(clamping: object.size), objectType: object.contentType,
            boundary: api.randomBoundary())
        var described = object
        described.contentType = parts.contentType
        let headers = headers(of: described, timestamp: reply.timestamp, dataTimestamp: reply.dataTimestamp)
        start(.partialContent, headers, contentLength: Int64(clamping: parts.totalLength))
        guard head.method != .head else {
            finished(status: .partialContent)
            return finish()
        }
        var pieces: [BodySender.Piece] = []
        for (index, range) in ranges.enumerated() {
            pieces.append(.bytes(ByteBuffer(bytes: parts.partHeader(index))))
            pieces.append(.object(Int64(range.lowerBound)..<Int64(range.upperBound)))
            pieces.append(.bytes(ByteBuffer(staticString: MultipartByteRanges.partEnd)))
        }
        pieces.append(.bytes(ByteBuffer(bytes: parts.end)))
        send(pieces, of: reply, .partialContent)
    }

    private func send(_ pieces: [BodySender.Piece], of reply: ObjectReply, _ status: HTTPStatus) {
        guard let read else { return }
        let sender = BodySender(read: read, reply: reply, pieces: pieces, exchange: exchange) { [unowned self] in
            sent($0, status)
        }
        self.sender = sender
        api.metrics.bytesOut.add(UInt64(clamping: reply.bodyLength))
        sender.resume()
    }

    private func sent(_ whole: Bool, _ status: HTTPStatus) {
        // Without a sound copy the connection is cut, so that nobody takes the piece for the whole.
        if whole { finished(status: status) } else { exchange.abort() }
        finish()
    }
}

/// Sends a body that is put together from bytes at hand and ranges of a stored object, at the pace of the client.
final class BodySender {
    enum Piece {
        case bytes(ByteBuffer)
        case object(Range<Int64>)
    }

    private let read: ObjectRead
    private let reply: ObjectReply
    private let exchange: HTTPExchange
    private var pieces: ArraySlice<Piece>
    private var transfer: BodyTransfer?
    private var onEnd: ((Bool) -> Void)?

    init(
        read: ObjectRead, reply: ObjectReply, pieces: [Piece], exchange: HTTPExchange, onEnd: @escaping (Bool) -> Void
    ) {
        self.read = read
        self.reply = reply
        self.pieces = pieces[...]
        self.exchange = exchange
        self.onEnd = onEnd
    }

    func resume() {
        if let transfer { return transfer.resume() }
        next()
    }

    func pause() { transfer?.pause() }

    func cancel() {
        onEnd = nil
        transfer?.cancel()
        transfer = nil
    }

    private func next() {
        while let piece = pieces.popFirst() {
            switch piece {
            case .bytes(let bytes): exchange.write(bytes)
            case .object(let range):
                if let body = reply.body {
                    if let slice = body.getSlice(at: body.readerIndex + Int(range.lowerBound), length: range.count) {
                        exchange.write(slice)
                    }
                } else {
                    return pull(range)
                }
            }
        }
        end(true)
    }

    private func pull(_ range: Range<Int64>) {
        let transfer = read.pull(
            range, of: reply,
            onChunk: { [unowned self] in write($0) }, onEnd: { [unowned self] in pulled($0) })
        self.transfer = transfer
        transfer.resume()
    }

    private func write(_ bytes: ByteBuffer) {
        exchange.write(bytes)
        if !exchange.isWritable { transfer?.pause() }
    }

    private func pulled(_ whole: Bool) {
        transfer = nil
        if whole { next() } else { end(false) }
    }

    private func end(_ whole: Bool) {
        let onEnd = onEnd
        self.onEnd = nil
        onEnd?(whole)
    }
}
