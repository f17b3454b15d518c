/// The kinds of things that carry metadata, with the names of their headers.
enum MetadataTarget {
    case account
    case container
    case object

    /// Prefix of user metadata.
    var prefix: StaticString {
        switch self {
        case .account: "x-account-meta-"
        case .container: "x-container-meta-"
        case .object: "x-object-meta-"
        }
    }

    /// Prefix of headers that delete user metadata; objects have none.
    var removalPrefix: StaticString? {
        switch self {
        case .account: "x-remove-account-meta-"
        case .container: "x-remove-container-meta-"
        case .object: nil
        }
    }
}

/// Metadata names as they are stored and sent: each letter after something that is no letter is upper case, as Python's
/// `title()` makes it.
enum MetadataName {
    static func canonical(_ name: some Collection<UInt8>) -> [UInt8] {
        var canonical = [UInt8]()
        canonical.reserveCapacity(name.count)
        var follows = false
        for byte in name {
            canonical.append(follows ? ASCII.lower(byte) : ASCII.upper(byte))
            follows = ASCII.isLetter(byte)
        }
        return canonical
    }
}

/// Checks user metadata against the limits while it is gathered, with OpenStack Swift's sentences.
struct MetadataLimits {
    private let target: MetadataTarget
    private let constraints: Constraints
    private var count = 0
    private var size = 0

    init(_ target: MetadataTarget, _ constraints: Constraints) {
        self.target = target
        self.constraints = constraints
    }

    /// Every header, metadata or not.
    func check(header name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(SwiftError) {
        guard value.count <= constraints.maxHeaderSize else {
            let shown = MetadataName.canonical(name.prefix(constraints.maxMetaNameLength))
            throw SwiftError(400, text: Array("Header value too long: ".utf8) + shown)
        }
    }

    /// One metadata item.
    /// - Parameter name: canonical, without the prefix.
    mutating func add(name: some Collection<UInt8>, value: some Collection<UInt8>) throws(SwiftError) {
        guard !name.isEmpty else { throw SwiftError(400, "Metadata name cannot be empty") }
        if target != .object, !name.isUTF8 || !value.isUTF8 || value.contains(0) {
            throw SwiftError(400, "Metadata must be valid UTF-8")
        }
        count += 1
        size += name.count + value.count
        guard name.count <= constraints.maxMetaNameLength else {
            throw SwiftError(400, text: Array("Metadata name too long: \(target.prefix)".utf8) + name)
        }
        guard value.count <= constraints.maxMetaValueLength else {
            let limit = constraints.maxMetaValueLength
            throw SwiftError(400, text: Array("Metadata value longer than \(limit): \(target.prefix)".utf8) + name)
        }
        guard count <= constraints.maxMetaCount else {
            throw SwiftError(400, "Too many metadata items; max \(constraints.maxMetaCount)")
        }
        guard size <= constraints.maxMetaOverallSize else {
            throw SwiftError(400, "Total metadata too large; max \(constraints.maxMetaOverallSize)")
        }
    }
}

extension [MetadataItem] {
    /// The index of the item of this canonical name.
    func index(of name: some Collection<UInt8>) -> Int? {
        firstIndex { $0.name.elementsEqual(name) }
    }

    /// Sets an item, replacing one of the same canonical name.
    mutating func set(_ item: MetadataItem) {
        if let index = index(of: item.name) {
            self[index].value = item.value
        } else {
            append(item)
        }
    }

    /// Adds a field of a header: fields of one name are one list (RFC 9110 5.3).
    mutating func merge(_ item: MetadataItem) {
        if let index = index(of: item.name) {
            self[index].value += [UInt8(ascii: ",")] + item.value
        } else {
            append(item)
        }
    }
}
