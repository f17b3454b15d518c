private import Glibc

/// The method of a request. Methods are case-sensitive (RFC 9110 9.1); what is not listed here is `other`.
package enum HTTPMethod: UInt8, Sendable {
    case get, head, put, post, delete, copy, options, patch, trace, connect
    /// Any other token; its bytes are in `RequestHead.methodBytes`.
    case other

    /// The method that these bytes spell.
    package init(bytes: UnsafeRawBufferPointer) {
        let candidate = Self.candidate(bytes)
        self = candidate.matches(bytes) ? candidate : .other
    }

    /// The only known method with this length and first letter.
    private static func candidate(_ bytes: UnsafeRawBufferPointer) -> HTTPMethod {
        guard bytes.count >= 3 else { return .other }
        switch (bytes.count, bytes[0]) {
        case (3, UInt8(ascii: "G")): return .get
        case (3, UInt8(ascii: "P")): return .put
        case (4, UInt8(ascii: "H")): return .head
        case (4, UInt8(ascii: "P")): return .post
        case (4, UInt8(ascii: "C")): return .copy
        case (5, UInt8(ascii: "P")): return .patch
        case (5, UInt8(ascii: "T")): return .trace
        case (6, UInt8(ascii: "D")): return .delete
        case (7, UInt8(ascii: "O")): return .options
        case (7, UInt8(ascii: "C")): return .connect
        default: return .other
        }
    }

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
