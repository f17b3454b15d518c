package import NIOCore

/// HTTP/1.1 requests from bytes, without I/O (RFC 9112).
///
///     var parser = HTTPRequestParser()
///     parser.feed(bytes)
///     while let event = parser.next() { ... }      // head, body..., end; then nil until `startNextRequest`
///
/// Strict where leniency lets two servers read the same bytes differently (request smuggling): only CRLF ends a line, no
/// folded lines, no white space before a colon, one length of a body. Events depend on the bytes alone, not on how they
/// were cut into `feed` calls, but for where a body is cut into chunks. Bodies are slices of what was fed, never copies.
package struct HTTPRequestParser: Sendable {
    /// What has been read.
    package enum Event: Sendable {
        case head(RequestHead)
        /// A piece of the body, never empty.
        case body(ByteBuffer)
        /// The request is complete; the next one waits for `startNextRequest`.
        case end
        /// The request is refused, and what follows on this connection cannot be read.
        case failure(HTTPRequestError)
    }

    private enum State {
        case head
        case sized(remaining: Int64)
        case chunkLine
        case chunk(remaining: Int64)
        case chunkEnd
        case trailers
        case ending
        case complete
        case failed
    }

    /// What a step of the machine did.
    private enum Step {
        case event(Event)
        case again
        case needsBytes
    }

    private enum Line {
        case whole(ByteBuffer)
        case incomplete
        case tooLong
        case malformed
    }

    private let limits: HTTPLimits
    private var state = State.head
    private var head = HeadParser()
    private var input = PendingInput()
    private var chunkExtensionBytes = 0
    private var trailerBytes = 0
    private var trailerCount = 0

    package init(limits: HTTPLimits = HTTPLimits()) {
        self.limits = limits
    }

    /// Bytes that were fed and not read yet.
    package var bufferedBytes: Int { input.count }

    /// Whether a request has begun whose head is not complete.
    package var isInsideHead: Bool {
        if case .head = state { return input.count > 0 }
        return false
    }

    /// Takes bytes from the connection. After a failure they are dropped.
    package mutating func feed(_ bytes: ByteBuffer) {
        if case .failed = state { return }
        input.append(bytes)
    }

    /// Lets the next request be read, after `end`.
    package mutating func startNextRequest() {
        guard case .complete = state else { return }
        state = .head
        chunkExtensionBytes = 0
        trailerBytes = 0
        trailerCount = 0
    }

    /// What comes next, or nil when more bytes are needed (or `startNextRequest`).
    package mutating func next() -> Event? {
        while true {
            switch step() {
            case .event(let event): return event
            case .again: continue
            case .needsBytes: return nil
            }
        }
    }

    private mutating func step() -> Step {
        switch state {
        case .head: return readHead()
        case .sized(let remaining): return readSized(remaining)
        case .chunkLine: return readChunkLine()
        case .chunk(let remaining): return readChunk(remaining)
        case .chunkEnd: return readChunkEnd()
        case .trailers: return readTrailer()
        case .ending:
            state = .complete
            return .event(.end)
        case .complete, .failed: return .needsBytes
        }
    }

    private mutating func fail(_ error: HTTPRequestError) -> Step {
        state = .failed
        input = PendingInput()
        return .event(.failure(error))
    }
}

// MARK: - Head and bodies of a known length

extension HTTPRequestParser {
    private mutating func readHead() -> Step {
        guard input.count > 0 else { return .needsBytes }
        let bytes = input.front
        let outcome = bytes.withUnsafeReadableBytes { head.read($0, limits: limits) }
        switch outcome {
        case .incomplete:
            return input.joinNext() ? .again : .needsBytes
        case .failed(let error):
            head = HeadParser()
            return fail(error)
        case .complete(let length):
            let complete = head.finish(bytes: input.takeHead(length))
            head = HeadParser()
            if complete.isChunked {
                state = .chunkLine
            } else {
                let length = complete.contentLength ?? 0
                state = length > 0 ? .sized(remaining: length) : .ending
            }
            return .event(.head(complete))
        }
    }

    private mutating func readSized(_ remaining: Int64) -> Step {
        guard let bytes = input.take(atMost: remaining) else { return .needsBytes }
        let rest = remaining - Int64(bytes.readableBytes)
        state = rest > 0 ? .sized(remaining: rest) : .ending
        return .event(.body(bytes))
    }
}

// MARK: - Chunked bodies (RFC 9112 7.1)

extension HTTPRequestParser {
    private mutating func readChunkLine() -> Step {
        switch line(limit: limits.chunkLine) {
        case .incomplete: return .needsBytes
        case .tooLong: return fail(HTTPRequestError(.badRequest, "The line of a chunk is too long."))
        case .malformed: return fail(HTTPRequestError(.badRequest, "A line of the body does not end with CRLF."))
        case .whole(let line):
            let parsed = line.withUnsafeReadableBytes { Self.chunkSize($0) }
            guard let (size, extensionBytes) = parsed else {
                return fail(HTTPRequestError(.badRequest, "The line of a chunk is malformed."))
            }
            chunkExtensionBytes += extensionBytes
            guard chunkExtensionBytes <= limits.chunkExtensionBytes else {
                return fail(HTTPRequestError(.badRequest, "The chunk extensions are too long."))
            }
            state = size == 0 ? .trailers : .chunk(remaining: size)
            return .again
        }
    }

    private mutating func readChunk(_ remaining: Int64) -> Step {
        guard let bytes = input.take(atMost: remaining) else { return .needsBytes }
        let rest = remaining - Int64(bytes.readableBytes)
        state = rest > 0 ? .chunk(remaining: rest) : .chunkEnd
        return .event(.body(bytes))
    }

    private mutating func readChunkEnd() -> Step {
        switch line(limit: 0) {
        case .incomplete: return .needsBytes
        case .tooLong, .malformed: return fail(HTTPRequestError(.badRequest, "A chunk is longer than its size."))
        case .whole:
            state = .chunkLine
            return .again
        }
    }

    private mutating func readTrailer() -> Step {
        switch line(limit: limits.trailerBytes - trailerBytes) {
        case .incomplete: return .needsBytes
        case .tooLong: return fail(HTTPRequestError(.headerFieldsTooLarge, "The trailers are too long."))
        case .malformed: return fail(HTTPRequestError(.badRequest, "A line of the body does not end with CRLF."))
        case .whole(let line):
            guard line.readableBytes > 0 else {
                state = .ending
                return .again
            }
            trailerBytes = min(limits.trailerBytes, trailerBytes + line.readableBytes + 2)
            trailerCount += 1
            guard trailerCount <= limits.headerCount else {
                return fail(HTTPRequestError(.headerFieldsTooLarge, "There are too many trailers."))
            }
            // Checked like a header and then dropped: nothing here reads trailers.
            switch line.withUnsafeReadableBytes({ HeadParser.splitField($0, lineStart: 0, lineEnd: $0.count) }) {
            case .success: return .again
            case .failure(let error): return fail(error)
            }
        }
    }

    /// Size and count of extension bytes of a chunk line; nil when it is malformed. White space is accepted nowhere
    /// before the extensions: peers disagree on it.
    private static func chunkSize(_ line: UnsafeRawBufferPointer) -> (size: Int64, extensionBytes: Int)? {
        var size: Int64 = 0
        var index = 0
        while index < line.count, let digit = hexadecimalValue(line[index]) {
            guard size <= Int64.max >> 4 else { return nil }
            size = size << 4 | Int64(digit)
            index += 1
        }
        guard index > 0 else { return nil }
        guard index < line.count else { return (size, 0) }
        guard line[index] == UInt8(ascii: ";") else { return nil }
        let extensions = UnsafeRawBufferPointer(rebasing: line[index...])
        return CharacterClass.isFieldContent(extensions) ? (size, extensions.count) : nil
    }

    private static func hexadecimalValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The next line of at most `limit` bytes without its CRLF.
    private mutating func line(limit: Int) -> Line {
        guard let end = input.indexOfLineFeed() else {
            return input.count > limit + 1 ? .tooLong : .incomplete
        }
        guard end - 1 <= limit else { return .tooLong }
        guard end > 0, input.byte(at: end - 1) == 0x0D, let line = input.take(atMost: Int64(end + 1)) else {
            return .malformed
        }
        return .whole(line.getSlice(at: line.readerIndex, length: end - 1) ?? ByteBuffer())
    }
}
