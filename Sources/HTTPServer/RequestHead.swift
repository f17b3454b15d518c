package import NIOCore

/// The three forms of a request target that a server meets (RFC 9112 3.2).
package enum TargetForm: UInt8, Sendable {
    /// `/path?query`
    case origin
    /// `http://host/path?query`
    case absolute
    /// `*`, for OPTIONS
    case asterisk
}

/// Request line and headers of one request, as the bytes that came in.
///
/// Nothing is decoded or normalised: the target is raw, header values are arbitrary bytes without control characters
/// (they may be UTF-8). Names and values are ranges in `bytes`; headers in `KnownHeader` are found without a search.
///
///     if let token = head.first(.authToken) { ... }          // a ByteBufferView
///     head.string(.contentType) ?? "application/octet-stream" // cold paths
///     head.forEachField { name, value in ... }                // UnsafeRawBufferPointers, no allocation
package struct RequestHead: Sendable {
    /// One header line, as offsets in `bytes`.
    struct Field: Sendable {
        var nameStart: UInt32
        var nameLength: UInt32
        var valueStart: UInt32
        var valueLength: UInt32
    }

    /// The whole head up to the empty line; its reader index is 0.
    package internal(set) var bytes: ByteBuffer
    package internal(set) var method: HTTPMethod
    package internal(set) var targetForm: TargetForm
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    package internal(set) var minorVersion: UInt8
    /// What the client and its version ask for: false for `Connection: close`, and for 1.0 without `keep-alive`.
    package internal(set) var isKeepAlive: Bool
    /// Whether the client waits for 100 (Continue) before it sends the body.
    package internal(set) var expectsContinue: Bool
    /// The value of Content-Length.
    package internal(set) var contentLength: Int64?
    /// Whether the body comes in chunks.
    package internal(set) var isChunked: Bool

    var methodStart: UInt32
    var methodLength: UInt32
    var targetStart: UInt32
    var targetLength: UInt32
    /// Where path and query begin: `targetStart` but for the absolute form.
    var pathStart: UInt32
    var fields: [Field]
    /// For each `KnownHeader` the index of its first field plus one, or 0.
    var slots: InlineArray<64, UInt8>

    /// Whether a body follows: a chunked one, or one of at least one byte.
    package var hasBody: Bool { isChunked || (contentLength ?? 0) > 0 }
}

extension RequestHead {
    /// The bytes of the method.
    package var methodBytes: ByteBufferView { view(methodStart, methodLength) }

    /// The target as it came.
    package var target: ByteBufferView { view(targetStart, targetLength) }

    /// Raw path and query: the target without scheme and authority. Empty when an absolute target has no path; `*` for
    /// the asterisk form.
    package var pathAndQuery: ByteBufferView { view(pathStart, targetStart + targetLength - pathStart) }

    /// Calls `body` with raw path and query (see `pathAndQuery`), without touching a reference count.
    @inline(__always)
    package func withPathAndQuery<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withBytes(pathStart, targetStart + targetLength - pathStart, body)
    }

    /// Number of header fields.
    package var fieldCount: Int { fields.count }

    /// Whether the header is there, even if empty.
    package func contains(_ header: KnownHeader) -> Bool {
        slots[Int(header.rawValue)] != 0
    }

    /// The first value of a header, without white space around it.
    package func first(_ header: KnownHeader) -> ByteBufferView? {
        field(header).map { view($0.valueStart, $0.valueLength) }
    }

    /// The first value of a header as text, for cold paths; bytes that are not UTF-8 are repaired.
    package func string(_ header: KnownHeader) -> String? {
        field(header).flatMap { bytes.getString(at: Int($0.valueStart), length: Int($0.valueLength)) }
    }

    /// Calls `body` with the first value of a header, or with nil; does not touch a reference count.
    @inline(__always)
    package func withFirst<Result>(_ header: KnownHeader, _ body: (UnsafeRawBufferPointer?) -> Result) -> Result {
        guard let field = field(header) else { return body(nil) }
        return withBytes(field.valueStart, field.valueLength) { body($0) }
    }

    /// The first value of a header that has no slot; the case of letters does not matter. Searches all fields.
    package func first(_ name: StaticString) -> ByteBufferView? {
        let wanted = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        return first(name: wanted)
    }

    /// The first value of a header by the bytes of its name; the case of letters does not matter. Searches all fields.
    package func first(name: UnsafeRawBufferPointer) -> ByteBufferView? {
        bytes.withUnsafeReadableBytes { all in
            fields.first { equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: all[$0.nameRange]), name) }
        }.map { view($0.valueStart, $0.valueLength) }
    }

    /// The first value of a header by name as text, for cold paths.
    package func string(_ name: StaticString) -> String? {
        first(name).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Calls `body` with name and value of every field, in the order they came. The pointers end with the call.
    package func forEachField(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        bytes.withUnsafeReadableBytes { all in
            for field in fields {
                body(
                    UnsafeRawBufferPointer(rebasing: all[field.nameRange]),
                    UnsafeRawBufferPointer(rebasing: all[field.valueRange]))
            }
        }
    }

    /// Name and value of field `index`, as views that may be kept.
    package func field(at index: Int) -> (name: ByteBufferView, value: ByteBufferView) {
        let field = fields[index]
        return (view(field.nameStart, field.nameLength), view(field.valueStart, field.valueLength))
    }

    @inline(__always)
    private func field(_ header: KnownHeader) -> Field? {
        let slot = Int(slots[Int(header.rawValue)])
        return slot == 0 ? nil : fields[slot - 1]
    }

    private func view(_ start: UInt32, _ length: UInt32) -> ByteBufferView {
        // Ranges were made from these bytes, which never change afterwards; an empty view is what is left otherwise.
        bytes.viewBytes(at: Int(start), length: Int(length)) ?? ByteBufferView()
    }

    @inline(__always)
    private func withBytes<Result>(
        _ start: UInt32, _ length: UInt32, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        bytes.withUnsafeReadableBytes {
            body(UnsafeRawBufferPointer(rebasing: $0[Int(start)..<Int(start + length)]))
        }
    }
}

extension RequestHead.Field {
    var nameRange: Range<Int> { Int(nameStart)..<Int(nameStart + nameLength) }
    var valueRange: Range<Int> { Int(valueStart)..<Int(valueStart + valueLength) }
}
