import HTTPServer
import NIOCore
import Testing

/// Heads and framing of responses, and the pieces they are written with.
@Suite struct ResponseEncoderTests {
    @Test func writesTheHead() {
        #expect(
            head(.ok, contentLength: 5)
                == "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: d\r\nContent-Length: 5\r\n\r\n")
        #expect(
            head(.serviceUnavailable, contentLength: 0, closes: true)
                == "HTTP/1.1 503 Service Unavailable\r\nX-A: b\r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        #expect(
            head(.ok, contentLength: nil)
                == "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(
            head(.ok, contentLength: nil, minorVersion: 0)
                == "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: d\r\nConnection: close\r\n\r\n")
        #expect(
            head(.ok, contentLength: 5, minorVersion: 0)
                == "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: d\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n")
        for status in [HTTPStatus.noContent, .notModified] {
            #expect(!head(status, contentLength: 5).contains("Content-Length"))
        }
        #expect(head(HTTPStatus(rawValue: 799), contentLength: 0).hasPrefix("HTTP/1.1 799 \r\n"))
        #expect(head(HTTPStatus(rawValue: 7), contentLength: 0).hasPrefix("HTTP/1.1 500 "))
    }

    @Test(
        arguments: [
            100, 200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 408, 409, 411, 412, 413, 414, 416, 417, 422,
            431, 498, 499, 500, 501, 503, 507,
        ] as [UInt16]) func knowsTheReason(_ code: UInt16)
    {
        #expect(!HTTPStatus(rawValue: code).reason.description.isEmpty)
        #expect(
            head(HTTPStatus(rawValue: code), contentLength: 0).hasPrefix(
                "HTTP/1.1 \(code) \(HTTPStatus(rawValue: code).reason)\r\n"))
    }

    @Test func keepsTheLength() {
        var encoder = ResponseEncoder(method: .get, minorVersion: 1)
        _ = start(&encoder, contentLength: 5)
        #expect(encoder.piece(3) == .plain && encoder.end() == .short)
        #expect(encoder.piece(3) == .excess)
        #expect(encoder.piece(2) == .plain && encoder.end() == .complete)
        #expect(encoder.piece(1) == .excess)
    }

    @Test func framesByVersionAndMethod() {
        var chunked = ResponseEncoder(method: .get, minorVersion: 1)
        _ = start(&chunked, contentLength: nil)
        #expect(chunked.piece(3) == .chunk && chunked.piece(0) == .omit && chunked.end() == .lastChunk)
        var old = ResponseEncoder(method: .get, minorVersion: 0)
        #expect(start(&old, contentLength: nil))
        #expect(old.piece(3) == .plain && old.end() == .close && old.isCloseDelimited)
        var head = ResponseEncoder(method: .head, minorVersion: 1)
        _ = start(&head, contentLength: 5)
        #expect(head.piece(5) == .omit && head.end() == .complete)
    }

    @Test func acceptsNamesThatAreTokens() {
        let token = Set("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
        for byte in UInt8.min...UInt8.max {
            var headers = ResponseHeaders()
            let added = withUnsafeBytes(of: byte) { name in
                headers.append(name: name, value: UnsafeRawBufferPointer(start: nil, count: 0))
            }
            #expect(added == token.contains(byte), "byte \(byte)")
        }
    }

    @Test func writesNumbers() {
        var headers = ResponseHeaders()
        headers.append("A", 0)
        headers.append("B", -17)
        headers.append("C", Int64.max)
        headers.append("D", UInt64.max)
        #expect(
            String(buffer: headers.bytes)
                == "A: 0\r\nB: -17\r\nC: 9223372036854775807\r\nD: 18446744073709551615\r\n")
    }

    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"), (.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ]) func writesDates(_ seconds: Int, _ text: String) {
        var buffer = ByteBuffer()
        buffer.writeHTTPDate(seconds)
        #expect(String(buffer: buffer) == text)
    }

    private func head(
        _ status: HTTPStatus, contentLength: Int64?, closes: Bool = false, minorVersion: UInt8 = 1
    ) -> String {
        var encoder = ResponseEncoder(method: .get, minorVersion: minorVersion)
        var headers = ResponseHeaders()
        headers.append("X-A", "b")
        var (closes, out) = (closes, ByteBuffer())
        encoder.start(
            status, headers: headers, contentLength: contentLength, date: ByteBuffer(string: "Date: d\r\n"),
            closes: &closes, into: &out)
        return String(buffer: out)
    }

    /// True when the response ends with the connection.
    private func start(_ encoder: inout ResponseEncoder, contentLength: Int64?) -> Bool {
        var (closes, out) = (false, ByteBuffer())
        encoder.start(
            .ok, headers: ResponseHeaders(), contentLength: contentLength, date: ByteBuffer(), closes: &closes,
            into: &out)
        return closes
    }
}
