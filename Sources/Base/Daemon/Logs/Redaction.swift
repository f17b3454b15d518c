/// Keeps secrets out of logs.
package enum Redaction {
    /// What stands in the place of a secret.
    package static let mask = "***"

    /// Enough of a token to find it again in a list, not enough to use it: the first 4 characters of 24 or more, else nothing.
    package static func shortened(_ secret: String) -> String {
        secret.utf8.count >= 24 ? secret.prefix(4) + mask : mask
    }

    /// Whether values under a metadata key or header name are never written, such as `X-Auth-Token` or `admin_password`.
    package static func isSecret(key: String) -> Bool {
        let plain = key.lowercased()
        return words.contains { plain == $0 || plain.hasSuffix("_" + $0) || plain.hasSuffix("-" + $0) }
    }

    private static let words = [
        "token", "password", "secret", "auth-key", "auth_key", "storage-pass", "cluster_key", "temp_url_sig",
        "signature", "authorization", "st_key",
    ]
}
