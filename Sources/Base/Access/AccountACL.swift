/// Access to a whole account (`X-Account-Access-Control`): JSON with the lists `admin`, `read-write` and `read-only`.
package struct AccountACL: Sendable, Equatable {
    /// The strongest right that a list gives.
    package enum Access: Sendable, Equatable {
        case admin
        case readWrite
        case readOnly
    }

    /// Why a value was refused; `text` is the body of the 400 answer.
    package struct ParseError: Error, Equatable {
        package let text: [UInt8]
    }

    private static let admin = Array("admin".utf8)
    private static let readWrite = Array("read-write".utf8)
    private static let readOnly = Array("read-only".utf8)
    /// Longer values never fit a header.
    private static let maximumLength = 8192

    private var admins: [[UInt8]]?
    private var writers: [[UInt8]]?
    private var readers: [[UInt8]]?

    /// Parses the header's value. An empty value is an empty list, which removes the ACL.
    package init(parsing value: some Collection<UInt8>) throws(ParseError) {
        let bytes = Array(value)
        if bytes.isEmpty { return }
        guard bytes.count <= Self.maximumLength, case .object(let members)? = JSONValue(parsing: bytes) else {
            throw Self.invalid("Syntax error in input ('\(String(decoding: bytes, as: UTF8.self))')", bytes)
        }
        for (key, _) in members where ![Self.admin, Self.readWrite, Self.readOnly].contains(key) {
            throw Self.invalid("Key \(Self.json(key)) not recognized", bytes)
        }
        for (key, value) in members {
            let names = try Self.names(value, key: key, input: bytes)
            switch key {
            case Self.admin: admins = names
            case Self.readWrite: writers = names
            default: readers = names
            }
        }
    }

    /// The ACL as stored; a damaged one grants nothing.
    package init(stored value: some Collection<UInt8>) {
        if let parsed = try? AccountACL(parsing: value) { self = parsed }
    }

    /// The canonical form: sorted keys, no blanks, ASCII only. Empty when no list was given.
    package var text: [UInt8] {
        let lists = [(Self.admin, admins), (Self.readOnly, readers), (Self.readWrite, writers)]
        let members = lists.compactMap { key, names in
            names.map { "\(Self.json(key)):[" + $0.map(Self.json).joined(separator: ",") + "]" }
        }
        return members.isEmpty ? [] : Array("{\(members.joined(separator: ","))}".utf8)
    }

    /// The strongest right that any of the caller's groups has.
    package func access(of identity: Identity?) -> Access? {
        guard let identity else { return nil }
        func holds(_ names: [[UInt8]]?) -> Bool {
            names?.contains { identity.groups.contains($0) } == true
        }
        if holds(admins) { return .admin }
        if holds(writers) { return .readWrite }
        return holds(readers) ? .readOnly : nil
    }

    private static func names(_ value: JSONValue, key: [UInt8], input: [UInt8]) throws(ParseError) -> [[UInt8]] {
        guard case .array(let elements) = value else {
            throw invalid("Value for key \(json(key)) must be a list", input)
        }
        var names = [[UInt8]]()
        for element in elements {
            guard case .string(let name) = element else {
                throw invalid("Elements of \(json(key)) list must be strings", input)
            }
            names.append(name)
        }
        return names
    }

    private static func invalid(_ reason: String, _ input: [UInt8]) -> ParseError {
        let shown = String(decoding: input, as: UTF8.self)
        return ParseError(text: Array("X-Account-Access-Control invalid: \(reason)\n\nInput: \(shown)\n".utf8))
    }

    /// A JSON string in ASCII.
    private static func json(_ bytes: [UInt8]) -> String {
        var text = "\""
        for unit in String(decoding: bytes, as: UTF8.self).utf16 {
            switch unit {
            case 0x22: text += "\\\""
            case 0x5C: text += "\\\\"
            case 0x0A: text += "\\n"
            case 0x0D: text += "\\r"
            case 0x09: text += "\\t"
            case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
            default:
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            }
        }
        return text + "\""
    }
}
