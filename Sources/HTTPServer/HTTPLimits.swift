/// What a client may send before it is refused. All sizes are bytes.
package struct HTTPLimits: Sendable {
    /// The request line without its CRLF; longer is 414. An object name of 1,024 bytes may take 3,072 when
    /// percent-encoded, so that account, container, object and a signed query fit well.
    package var requestLine = 16 * 1024
    /// Header fields in a request; more is 431. At most 254, because slots count in a byte.
    package var headerCount = 200
    /// All header lines together with their line ends; more is 431.
    package var headerBytes = 64 * 1024
    /// One chunk-size line with its extensions, without the CRLF; longer is 400.
    package var chunkLine = 256
    /// All chunk extensions of one body together; more is 400.
    package var chunkExtensionBytes = 16 * 1024
    /// The trailer section of a chunked body; more is 431. The same count as for headers applies.
    package var trailerBytes = 8 * 1024

    package init() {}
}

/// Why a request was refused by the parser. The connection cannot be used for another request afterwards.
package struct HTTPRequestError: Error, Equatable, Sendable {
    /// The status to answer with.
    package let status: HTTPStatus
    /// One sentence for the body of the answer and the log.
    package let reason: StaticString

    init(_ status: HTTPStatus, _ reason: StaticString) {
        self.status = status
        self.reason = reason
    }

    package static func == (left: HTTPRequestError, right: HTTPRequestError) -> Bool {
        left.status == right.status && left.reason.description == right.reason.description
    }
}
