private import Glibc

/// The method of a request. Methods are case-sensitive (RFC 9110 9.1); what is not listed here is `other`.
package enum HTTPMethod: UInt8, Sendable {
    case get, head, put, post, delete, copy, options, patch, trace, connect
    /// Any other token; its bytes are in `RequestHead.methodBytes`.
    case other

    /// The method that these bytes spell.
    package init(bytes: UnsafeRawBufferPointer) {
        self = Self.known.first { $0.matches(bytes) } ?? .other
    }

    private static let known: [HTTPMethod] = [.get, .put, .head, .post, .delete, .copy, .options, .patch, .trace, .connect]

    private func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let name = self.name
        guard bytes.count == name.utf8CodeUnitCount, let base = bytes.baseAddress else { return false }
        return memcmp(base, name.utf8Start, bytes.count) == 0
    }

    /// The name as it stands in a request line; empty for `other`.
    package var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .put: "PUT"
        case .post: "POST"
        case .delete: "DELETE"
        case .copy: "COPY"
        case .options: "OPTIONS"
        case .patch: "PATCH"
        case .trace: "TRACE"
        case .connect: "CONNECT"
        case .other: ""
        }
    }
}

