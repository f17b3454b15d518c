internal import NIOCore

/// The body of `GET /info`: what this cluster can do. Clients and test suites skip what is not listed, so
/// only what works is.
package struct InfoDocument: Sendable {
    /// A storage policy as clients see it.
    package struct Policy: Sendable, Equatable {
        package var name: String
        package var aliases: [String]
        package var isDefault: Bool

        package init(name: String, aliases: [String] = [], isDefault: Bool = false) {
            self.name = name
            self.aliases = aliases
            self.isDefault = isDefault
        }
    }

    /// Version of this software.
    package var version: String
    package var policies: [Policy]
    package var constraints: Constraints
    /// Whether accounts come into being with their first write.
    package var autocreatesAccounts: Bool
    /// Whether the v1 users are in force.
    package var hasUsers: Bool

    package init(
        version: String, policies: [Policy], constraints: Constraints, autocreatesAccounts: Bool = true,
        hasUsers: Bool = true
    ) {
        self.version = version
        self.policies = policies
        self.constraints = constraints
        self.autocreatesAccounts = autocreatesAccounts
        self.hasUsers = hasUsers
    }

    /// The JSON document.
    package func json() -> [UInt8] {
        var sections = ["\"swift\":{" + swiftSection.joined(separator: ",") + "}"]
        if hasUsers { sections.append("\"tempauth\":{\"account_acls\":true}") }
        return Array("{\(sections.joined(separator: ","))}".utf8)
    }

    private var swiftSection: [String] {
        let numbers: [(String, Int)] = [
            ("max_file_size", Int(clamping: constraints.maxFileSize)),
            ("max_meta_name_length", constraints.maxMetaNameLength),
            ("max_meta_value_length", constraints.maxMetaValueLength),
            ("max_meta_count", constraints.maxMetaCount),
            ("max_meta_overall_size", constraints.maxMetaOverallSize),
            ("max_header_size", constraints.maxHeaderSize),
            ("max_object_name_length", constraints.maxObjectNameLength),
            ("container_listing_limit", constraints.containerListingLimit),
            ("account_listing_limit", constraints.accountListingLimit),
            ("max_account_name_length", constraints.maxAccountNameLength),
            ("max_container_name_length", constraints.maxContainerNameLength),
            ("extra_header_count", constraints.extraHeaderCount),
        ]
        return [
            "\"version\":\(quoted(version))", "\"strict_cors_mode\":true",
            "\"policies\":[\(policies.map(json).joined(separator: ","))]",
            "\"allow_account_management\":true", "\"account_autocreate\":\(autocreatesAccounts)",
            "\"allow_open_expired\":false",
        ] + numbers.map { "\"\($0.0)\":\($0.1)" } + ["\"valid_api_versions\":[\"v1\",\"v1.0\"]"]
    }

    private func json(_ policy: Policy) -> String {
        // Same as OpenStack Swift: the name itself is the first alias.
        let aliases = ([policy.name] + policy.aliases.filter { $0 != policy.name }).joined(separator: ", ")
        let mark = policy.isDefault ? ",\"default\":true" : ""
        return "{\"name\":\(quoted(policy.name)),\"aliases\":\(quoted(aliases))\(mark)}"
    }

    private func quoted(_ text: String) -> String {
        var buffer = ByteBuffer()
        let bytes = Array(text.utf8)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: bytes.count * ByteCursor.longestEscape + 2) { memory in
            guard let start = memory.baseAddress else { return 0 }
            var cursor = ByteCursor(start)
            cursor.put(UInt8(ascii: "\""))
            bytes.withUnsafeBytes { cursor.put(json: $0) }
            cursor.put(UInt8(ascii: "\""))
            return cursor.position - start
        }
        return String(buffer: buffer)
    }
}
