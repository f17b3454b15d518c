/// The parameters of a query string, decoded once into one buffer. Empty ones cost no allocation.
package struct QueryParameters: Sendable {
    /// More parameters than this are refused.
    package static let maximumCount = 64

    private struct Parameter: Sendable {
        var name: Range<Int>
        var value: Range<Int>
    }

    private var bytes: [UInt8] = []
    private var parameters: [Parameter] = []

    /// - Parameter query: the encoded bytes after `?`.
    package init(parsing query: some Collection<UInt8>) throws(SwiftError) {
        guard !query.isEmpty else { return }
        bytes.reserveCapacity(query.count)
        guard query.withRawBytes({ read($0) }) else { throw SwiftError(400, "Too many query parameters") }
    }

    /// The value of the last parameter of this name; empty when the name stands alone.
    package func value(of name: StaticString) -> ArraySlice<UInt8>? {
        parameters.last { bytes[$0.name].equals(name) }.map { bytes[$0.value] }
    }

    /// The value of a parameter that must be UTF-8.
    package func text(of name: StaticString) throws(SwiftError) -> ArraySlice<UInt8>? {
        guard let value = value(of: name) else { return nil }
        guard value.isUTF8 else { throw SwiftError(400, "\"\(name)\" parameter not valid UTF-8") }
        return value
    }

    /// Whether a parameter of this name is present.
    package func contains(_ name: StaticString) -> Bool {
        value(of: name) != nil
    }

    /// False for too many parameters.
    private mutating func read(_ query: UnsafeRawBufferPointer) -> Bool {
        var rest = query[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "&")) ?? rest.endIndex
            let pair = rest[..<end]
            rest = end == rest.endIndex ? rest[end...] : rest[(end + 1)...]
            if pair.isEmpty { continue }
            guard parameters.count < Self.maximumCount else { return false }
            let sign = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let value = sign == pair.endIndex ? pair[sign...] : pair[(sign + 1)...]
            parameters.append(Parameter(name: decode(pair[..<sign]), value: decode(value)))
        }
        return true
    }

    private mutating func decode(_ text: some Collection<UInt8>) -> Range<Int> {
        let start = bytes.count
        PercentEncoding.decode(text, plusIsBlank: true, into: &bytes)
        return start..<bytes.count
    }
}
