/// The header of a request, whatever parsed it. Pure code reads it through this.
package protocol HeaderFields {
    /// Calls `body` for every field in order of arrival. Names come in any case; values without surrounding blanks.
    /// The memory is valid only during the call.
    func forEachField(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void)
}

extension HeaderFields {
    /// The value of the first field of this name.
    /// - Parameter name: in lower case.
    package func value(of name: StaticString) -> [UInt8]? {
        var found: [UInt8]?
        forEachField { candidate, value in
            if found == nil, candidate.equalsIgnoringCase(name) { found = Array(value) }
        }
        return found
    }
}

/// One name and value: a header field, or an item of stored metadata.
package struct MetadataItem: Sendable, Hashable {
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    package init(_ name: String, _ value: String) {
        self.init(name: Array(name.utf8), value: Array(value.utf8))
    }
}

/// Stored metadata looks like a header to code that merges the two, as COPY does.
extension [MetadataItem]: HeaderFields {
    package func forEachField(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        for item in self {
            item.name.withUnsafeBytes { name in item.value.withUnsafeBytes { body(name, $0) } }
        }
    }
}
