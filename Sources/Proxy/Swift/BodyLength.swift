/// How long the body of a PUT is said to be.
package enum BodyLength: Equatable, Sendable {
    case known(UInt64)
    /// `Transfer-Encoding: chunked`
    case chunked

    /// - Throws: 411 without either, 413 beyond the largest object, 400 for a bad number, 501 for another coding.
    package init(_ headers: some HeaderFields, constraints: Constraints) throws(SwiftError) {
        if let coding = headers.value(of: "transfer-encoding"), !coding.isEmpty {
            guard coding.trimmed.equalsIgnoringCase("chunked") else {
                throw SwiftError(501, "Unsupported Transfer-Coding header value specified in Transfer-Encoding header")
            }
            self = .chunked
            return
        }
        guard let text = headers.value(of: "content-length"), !text.isEmpty else {
            throw SwiftError(411, "Missing Content-Length header.")
        }
        guard let length = text.trimmed.decimal else { throw SwiftError(400, "Invalid Content-Length header value") }
        guard length <= constraints.maxFileSize else { throw SwiftError(413, "Your request is too large.") }
        self = .known(length)
    }
}
