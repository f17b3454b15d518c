package import NIOCore

/// Writes one response as bytes and keeps its framing right, without I/O (RFC 9112 6).
package struct ResponseEncoder: Sendable {
    /// What to do with a piece of the body.
    package enum Piece: Equatable, Sendable {
        /// The response has no body: leave the piece out.
        case omit
        case plain
        /// Goes between `writeChunkStart` and CRLF.
        case chunk
        /// More than the length that was told: the connection cannot be used any more.
        case excess
    }

    /// How a response ends.
    package enum End: Equatable, Sendable {
        case complete
        /// `writeLastChunk` ends it.
        case lastChunk
        /// The end of the connection ends it.
        case close
        /// Less than the length that was told: the client has to see the connection break.
        case short
    }

    private enum Framing {
        case none
        case sized(remaining: Int64)
        case chunked
        case untilClose
    }

    private let isHeadRequest: Bool
    private let minorVersion: UInt8
    private var framing = Framing.none

    /// For a response to a request with this method and version.
    package init(method: HTTPMethod = .other, minorVersion: UInt8 = 1) {
        isHeadRequest = method == .head
        self.minorVersion = minorVersion
    }

    /// Whether only the end of the connection can tell where the body ends.
    package var isCloseDelimited: Bool {
        if case .untilClose = framing { return true }
        return false
    }

    /// Writes status line and headers. Without a length the body is chunked, or ends with the connection for 1.0; then
    /// `closes` becomes true. `date` is a whole header line.
    package mutating func start(
        _ status: HTTPStatus, headers: ResponseHeaders, contentLength: Int64?, date: ByteBuffer, closes: inout Bool,
        into out: inout ByteBuffer
    ) {
        out.writeStatusLine(status)
        out.writeImmutableBuffer(headers.bytes)
        out.writeImmutableBuffer(date)
        framing = .none
        if !status.isBodiless { writeFraming(contentLength, closes: &closes, into: &out) }
        if closes {
            out.writeStaticString("Connection: close\r\n")
        } else if minorVersion == 0 {
            out.writeStaticString("Connection: keep-alive\r\n")
        }
        out.writeCRLF()
    }

    private mutating func writeFraming(_ contentLength: Int64?, closes: inout Bool, into out: inout ByteBuffer) {
        if let contentLength {
            out.writeStaticString("Content-Length: ")
            out.writeDecimal(max(0, contentLength))
            out.writeCRLF()
            framing = .sized(remaining: max(0, contentLength))
        } else if minorVersion > 0 {
            out.writeStaticString("Transfer-Encoding: chunked\r\n")
            framing = .chunked
        } else {
            closes = true
            framing = .untilClose
        }
        if isHeadRequest { framing = .none }
    }

    /// Accounts for a piece of the body of `count` bytes.
    package mutating func piece(_ count: Int) -> Piece {
        switch framing {
        case .none: return .omit
        case .chunked: return count > 0 ? .chunk : .omit
        case .untilClose: return .plain
        case .sized(let remaining):
            guard Int64(count) <= remaining else { return .excess }
            framing = .sized(remaining: remaining - Int64(count))
            return .plain
        }
    }

    /// How to end the response now.
    package func end() -> End {
        switch framing {
        case .none: .complete
        case .chunked: .lastChunk
        case .untilClose: .close
        case .sized(let remaining): remaining == 0 ? .complete : .short
        }
    }
}

extension ByteBuffer {
    /// The line before the bytes of a chunk.
    mutating func writeChunkStart(_ count: Int) {
        writeHexadecimal(count)
        writeCRLF()
    }

    /// The chunk that ends a body, without trailers.
    mutating func writeLastChunk() {
        writeStaticString("0\r\n\r\n")
    }

    /// The interim response that asks for the body (RFC 9110 15.2.1).
    mutating func writeContinue() {
        writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
    }

    fileprivate mutating func writeStatusLine(_ status: HTTPStatus) {
        switch status.rawValue {
        case 200: writeStaticString("HTTP/1.1 200 OK\r\n")
        case 201: writeStaticString("HTTP/1.1 201 Created\r\n")
        case 204: writeStaticString("HTTP/1.1 204 No Content\r\n")
        default:
            writeStaticString("HTTP/1.1 ")
            writeDecimal(Int64(status.rawValue))
            writeStaticString(" ")
            writeStaticString(status.reason)
            writeCRLF()
        }
    }
}
