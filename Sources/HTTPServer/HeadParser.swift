private import Glibc
import NIOCore

/// Reads request line and headers line by line as they arrive; offsets count from the first byte of the request.
struct HeadParser: Sendable {
    enum Outcome {
        case incomplete
        case complete(length: Int)
        case failed(HTTPRequestError)
    }

    /// Start of the first line that is not read.
    private var lineStart = 0
    /// No line feed between `lineStart` and here.
    private var scanned = 0
    private var headersStart = 0
    private var hasSkippedLine = false
    private var line = RequestLine()
    private var fields: [RequestHead.Field] = []
    private var slots = InlineArray<64, UInt8>(repeating: 0)
    private var closes = false
    private var keepsAlive = false
    private var expectsContinue = false
    private var contentLength: Int64?

    /// Goes on where the last call ended; `bytes` is everything since the first byte of the request.
    mutating func read(_ bytes: UnsafeRawBufferPointer, limits: HTTPLimits) -> Outcome {
        // TLS and noise are told at once, not when a line or the time is over.
        if lineStart == 0, let first = bytes.first, !CharacterClass.isToken(first), first != 0x0D, first != 0x0A {
            return .failed(HTTPRequestError(.badRequest, "This is not an HTTP request."))
        }
        while true {
            let end = lineFeed(in: bytes)
            do throws(HTTPRequestError) {
                try checkLimits(limits, read: end.map { $0 + 1 } ?? bytes.count, isWhole: end != nil)
                guard let end else { return .incomplete }
                guard end > lineStart, bytes[end - 1] == 0x0D else {
                    throw HTTPRequestError(.badRequest, "A line of the head does not end with CRLF.")
                }
                if try readLine(bytes, lineEnd: end - 1, limits: limits) { return .complete(length: end + 1) }
                lineStart = end + 1
                scanned = lineStart
                if headersStart == 0, !line.isEmpty { headersStart = lineStart }
            } catch {
                return .failed(error)
            }
        }
    }

    /// The head, once `read` has told that it is complete.
    func finish(bytes: ByteBuffer) -> RequestHead {
        let isChunked = slots[Int(KnownHeader.transferEncoding.rawValue)] != 0
        let hasBody = isChunked || (contentLength ?? 0) > 0
        return RequestHead(
            bytes: bytes, method: line.method, targetForm: line.targetForm, minorVersion: line.minorVersion,
            isKeepAlive: line.minorVersion == 0 ? keepsAlive && !closes : !closes,
            expectsContinue: expectsContinue && hasBody && line.minorVersion > 0, contentLength: contentLength,
            isChunked: isChunked, methodStart: line.methodStart, methodLength: line.methodLength,
            targetStart: line.targetStart, targetLength: line.targetLength, pathStart: line.pathStart, fields: fields,
            slots: slots)
    }

    private mutating func lineFeed(in bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress, scanned < bytes.count else { return nil }
        if let match = memchr(base + scanned, 0x0A, bytes.count - scanned) { return UnsafeRawPointer(match) - base }
        scanned = bytes.count
        return nil
    }

    /// Whole and partial lines are refused at the same byte, so that events don't depend on how bytes arrive.
    private func checkLimits(_ limits: HTTPLimits, read: Int, isWhole: Bool) throws(HTTPRequestError) {
        if line.isEmpty {
            let length = read - lineStart - (isWhole ? 2 : 1)
            guard length <= limits.requestLine else {
                throw HTTPRequestError(.targetTooLong, "The request line is too long.")
            }
        } else if read - headersStart > limits.headerBytes {
            throw HTTPRequestError(.headerFieldsTooLarge, "The headers are too long.")
        }
    }

    /// True when this was the empty line that ends the head.
    private mutating func readLine(
        _ bytes: UnsafeRawBufferPointer, lineEnd: Int, limits: HTTPLimits
    ) throws(HTTPRequestError) -> Bool {
        if line.isEmpty {
            if lineEnd == lineStart {
                // One empty line before a request is ignored (RFC 9112 2.2).
                guard !hasSkippedLine else { throw HTTPRequestError(.badRequest, "The request line is empty.") }
                hasSkippedLine = true
            } else {
                line = try RequestLine(bytes, start: lineStart, end: lineEnd)
                fields.reserveCapacity(16)
            }
            return false
        }
        if lineEnd == lineStart {
            try checkFraming()
            return true
        }
        guard fields.count < min(limits.headerCount, 254) else {
            throw HTTPRequestError(.headerFieldsTooLarge, "There are too many headers.")
        }
        switch Self.splitField(bytes, lineStart: lineStart, lineEnd: lineEnd) {
        case .success(let field): try take(field, bytes)
        case .failure(let error): throw error
        }
        return false
    }

    private mutating func take(_ field: RequestHead.Field, _ bytes: UnsafeRawBufferPointer) throws(HTTPRequestError) {
        let name = UnsafeRawBufferPointer(rebasing: bytes[field.nameRange])
        fields.append(field)
        guard let known = KnownHeaderTable.shared.find(name) else { return }
        let slot = Int(known.rawValue)
        let isRepeated = slots[slot] != 0
        if !isRepeated { slots[slot] = UInt8(fields.count) }
        if known.decidesFraming {
            let value = UnsafeRawBufferPointer(rebasing: bytes[field.valueRange])
            try takeFraming(known, value, isRepeated: isRepeated)
        }
    }

    private mutating func takeFraming(
        _ header: KnownHeader, _ value: UnsafeRawBufferPointer, isRepeated: Bool
    ) throws(HTTPRequestError) {
        switch header {
        case .host:
            guard !isRepeated else { throw HTTPRequestError(.badRequest, "There are several Host headers.") }
            guard value.allSatisfy(CharacterClass.isHost) else {
                throw HTTPRequestError(.badRequest, "The Host header is malformed.")
            }
        case .contentLength:
            guard let length = Self.length(value) else {
                throw HTTPRequestError(.badRequest, "The Content-Length is malformed.")
            }
            guard !isRepeated || length == contentLength else {
                throw HTTPRequestError(.badRequest, "There are different Content-Length headers.")
            }
            contentLength = length
        case .transferEncoding:
            guard !isRepeated else { throw HTTPRequestError(.badRequest, "There are several transfer codings.") }
            guard matches(value, "chunked") else {
                throw HTTPRequestError(.notImplemented, "The transfer coding is not known here.")
            }
        case .connection:
            closes = closes || hasToken(value, "close")
            keepsAlive = keepsAlive || hasToken(value, "keep-alive")
        case .expect:
            guard matches(value, "100-continue") else {
                throw HTTPRequestError(.expectationFailed, "The expectation is not known.")
            }
            expectsContinue = true
        default:
            break
        }
    }

    /// What only the whole head tells (RFC 9112 3.2, 6.1, 6.3).
    private func checkFraming() throws(HTTPRequestError) {
        if slots[Int(KnownHeader.transferEncoding.rawValue)] != 0 {
            guard contentLength == nil else {
                throw HTTPRequestError(.badRequest, "There is a Content-Length beside a transfer coding.")
            }
            guard line.minorVersion > 0 else {
                throw HTTPRequestError(.badRequest, "HTTP/1.0 has no transfer codings.")
            }
        }
        guard line.minorVersion == 0 || slots[Int(KnownHeader.host.rawValue)] != 0 else {
            throw HTTPRequestError(.badRequest, "The Host header is missing.")
        }
    }

    /// Digits only; at most `Int64.max`.
    private static func length(_ value: UnsafeRawBufferPointer) -> Int64? {
        guard !value.isEmpty else { return nil }
        var length: Int64 = 0
        for byte in value {
            guard byte &- UInt8(ascii: "0") < 10 else { return nil }
            let (tens, overflow) = length.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            length = sum
        }
        return length
    }
}

extension HeadParser {
    /// Finds name and value in a line without its CRLF (RFC 9112 5).
    static func splitField(
        _ bytes: UnsafeRawBufferPointer, lineStart: Int, lineEnd: Int
    ) -> Result<RequestHead.Field, HTTPRequestError> {
        var colon = lineStart
        while colon < lineEnd, CharacterClass.isToken(bytes[colon]) { colon += 1 }
        guard colon > lineStart, colon < lineEnd, bytes[colon] == UInt8(ascii: ":") else {
            let isFolded = bytes[lineStart] == UInt8(ascii: " ") || bytes[lineStart] == UInt8(ascii: "\t")
            let reason: StaticString = isFolded ? "A header line is folded." : "The name of a header is malformed."
            return .failure(HTTPRequestError(.badRequest, reason))
        }
        var start = colon + 1
        var end = lineEnd
        while start < end, isBlank(bytes[start]) { start += 1 }
        while end > start, isBlank(bytes[end - 1]) { end -= 1 }
        guard CharacterClass.isFieldContent(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) else {
            return .failure(HTTPRequestError(.badRequest, "The value of a header has a control character."))
        }
        return .success(
            RequestHead.Field(
                nameStart: UInt32(lineStart), nameLength: UInt32(colon - lineStart), valueStart: UInt32(start),
                valueLength: UInt32(end - start)))
    }

    @inline(__always)
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }
}

extension KnownHeader {
    /// Whether the parser itself acts on the value.
    @inline(__always)
    fileprivate var decidesFraming: Bool {
        rawValue <= KnownHeader.expect.rawValue
    }
}

/// Whether a comma-separated list has this token.
private func hasToken(_ value: UnsafeRawBufferPointer, _ token: StaticString) -> Bool {
    value.split(separator: UInt8(ascii: ",")).contains { element in
        var element = UnsafeRawBufferPointer(rebasing: element)[...]
        while element.first == UInt8(ascii: " ") || element.first == UInt8(ascii: "\t") { element.removeFirst() }
        while element.last == UInt8(ascii: " ") || element.last == UInt8(ascii: "\t") { element.removeLast() }
        return matches(UnsafeRawBufferPointer(rebasing: element), token)
    }
}

private func matches(_ value: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    equalsIgnoringCase(value, UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
}
