/// Method, target and version of a request, as offsets (RFC 9112 3).
struct RequestLine: Sendable {
    /// Longer names of methods are refused: no registered one comes near.
    private static let longestMethod = 32

    private(set) var method = HTTPMethod.other
    private(set) var methodStart: UInt32 = 0
    private(set) var methodLength: UInt32 = 0
    private(set) var targetStart: UInt32 = 0
    private(set) var targetLength: UInt32 = 0
    /// Where path and query begin in the target.
    private(set) var pathStart: UInt32 = 0
    private(set) var targetForm = TargetForm.origin
    private(set) var minorVersion: UInt8 = 1

    /// True before a line was read.
    var isEmpty: Bool { methodLength == 0 }

    init() {}

    /// Reads the line between `start` and `end`, without its CRLF.
    init(_ bytes: UnsafeRawBufferPointer, start: Int, end: Int) throws(HTTPRequestError) {
        var index = start
        while index < end, CharacterClass.isToken(bytes[index]) { index += 1 }
        guard index > start, index - start <= Self.longestMethod, index < end, bytes[index] == Self.space else {
            throw HTTPRequestError(.badRequest, "The method is malformed.")
        }
        methodStart = UInt32(start)
        methodLength = UInt32(index - start)
        method = HTTPMethod(bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<index]))

        let targetStart = index + 1
        index = targetStart
        // Bytes over 126 are no part of a URI, but clients that don't encode UTF-8 exist, and nobody misreads them.
        while index < end, bytes[index] > Self.space, bytes[index] != 0x7F { index += 1 }
        guard index > targetStart, index < end, bytes[index] == Self.space else {
            throw HTTPRequestError(.badRequest, "The request target is malformed.")
        }
        self.targetStart = UInt32(targetStart)
        targetLength = UInt32(index - targetStart)
        pathStart = UInt32(targetStart)
        minorVersion = try Self.minorVersion(UnsafeRawBufferPointer(rebasing: bytes[(index + 1)..<end]))
        try classify(UnsafeRawBufferPointer(rebasing: bytes[targetStart..<index]))
    }

    private static let space = UInt8(ascii: " ")

    private mutating func classify(_ target: UnsafeRawBufferPointer) throws(HTTPRequestError) {
        if target[0] == UInt8(ascii: "/") { return }
        if target.count == 1, target[0] == UInt8(ascii: "*"), method == .options {
            targetForm = .asterisk
            return
        }
        guard let authority = Self.authorityStart(target) else {
            throw HTTPRequestError(.badRequest, "The request target is malformed.")
        }
        targetForm = .absolute
        let rest = target[authority...]
        let path = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? target.count
        guard path > authority, rest[..<path].allSatisfy(CharacterClass.isHost) else {
            throw HTTPRequestError(.badRequest, "The authority of the request target is malformed.")
        }
        pathStart += UInt32(path)
    }

    /// Where the authority begins after `http://` or `https://`.
    private static func authorityStart(_ target: UnsafeRawBufferPointer) -> Int? {
        for scheme: StaticString in ["http://", "https://"] where target.count > scheme.utf8CodeUnitCount {
            let start = UnsafeRawBufferPointer(rebasing: target[..<scheme.utf8CodeUnitCount])
            let wanted = UnsafeRawBufferPointer(start: scheme.utf8Start, count: scheme.utf8CodeUnitCount)
            if equalsIgnoringCase(start, wanted) { return wanted.count }
        }
        return nil
    }

    /// `HTTP/1.0` gives 0; every other 1.x is read as 1.1, as RFC 9110 2.5 wants.
    private static func minorVersion(_ version: UnsafeRawBufferPointer) throws(HTTPRequestError) -> UInt8 {
        let name: StaticString = "HTTP/"
        guard version.count == 8, version[6] == UInt8(ascii: "."), isDigit(version[5]), isDigit(version[7]),
            (0..<5).allSatisfy({ version[$0] == name.utf8Start[$0] })
        else { throw HTTPRequestError(.badRequest, "The HTTP version is malformed.") }
        guard version[5] == UInt8(ascii: "1") else {
            throw HTTPRequestError(.versionNotSupported, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        }
        return version[7] == UInt8(ascii: "0") ? 0 : 1
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte &- UInt8(ascii: "0") < 10
    }
}
