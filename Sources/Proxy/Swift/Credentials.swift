/// What v1 authentication (`GET /auth/v1.0`) and its failures say in headers.
package struct Credentials: Sendable, Equatable {
    /// `account:user`
    package var qualifiedName: [UInt8]
    package var key: [UInt8]

    /// From `X-Auth-User` and `X-Auth-Key`, or `X-Storage-User` and `X-Storage-Pass`. 401 without them.
    package init(_ headers: some HeaderFields) throws(SwiftError) {
        guard let user = headers.value(of: "x-auth-user") ?? headers.value(of: "x-storage-user"),
            let key = headers.value(of: "x-auth-key") ?? headers.value(of: "x-storage-pass"),
            user.contains(UInt8(ascii: ":")), !key.isEmpty
        else { throw SwiftError(401) }
        qualifiedName = user
        self.key = key
    }

    /// Value of `WWW-Authenticate` in a 401 answer.
    /// - Parameter account: in the path, when there is one.
    package static func challenge(account: [UInt8]?) -> [UInt8] {
        Array("Swift realm=\"".utf8) + (account.map { PercentEncoding.encoded($0) } ?? Array("unknown".utf8))
            + [UInt8(ascii: "\"")]
    }
}
