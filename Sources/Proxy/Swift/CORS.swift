/// Cross-origin requests (the Fetch standard's CORS protocol), as a container's metadata allows them.
package struct CORS: Sendable, Equatable {
    /// The answer to OPTIONS.
    package struct Answer: Sendable, Equatable {
        package var status: Int
        package var headers: [MetadataItem]
    }

    /// Most names of `Access-Control-Request-Headers` that are echoed.
    private static let maximumRequestHeaders = 128

    /// Headers that scripts may always see.
    private static let exposedHeaders = [
        "cache-control", "content-language", "content-type", "expires", "last-modified", "pragma", "etag",
        "x-timestamp", "x-trans-id", "x-openstack-request-id",
    ]

    /// Blank-separated origins, or `*`.
    private let allowedOrigins: [[UInt8]]
    private let maxAge: [UInt8]?
    private let exposed: [[UInt8]]

    /// - Parameter metadata: of the container, under canonical names.
    package init(containerMetadata metadata: [MetadataItem]) {
        func words(_ name: StaticString) -> [[UInt8]] {
            metadata.value(of: name)?.split(whereSeparator: ASCII.isBlank).map { Array($0) } ?? []
        }
        allowedOrigins = words("x-container-meta-access-control-allow-origin")
        exposed = words("x-container-meta-access-control-expose-headers")
        maxAge = metadata.value(of: "x-container-meta-access-control-max-age").flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The answer to OPTIONS.
    ///
    /// - Parameters:
    ///   - policy: of the container in the path; nil when the path names an account.
    ///   - methods: that the resource has, for `Allow`.
    package static func options(_ headers: some HeaderFields, policy: CORS?, methods: [StaticString]) -> Answer {
        let allowed = Array(methods.map { "\($0)" }.joined(separator: ", ").utf8)
        let allow = MetadataItem(name: Array("Allow".utf8), value: allowed)
        guard let origin = headers.value(of: "origin"), !origin.isEmpty, let policy else {
            return Answer(status: 200, headers: [allow])
        }
        guard policy.allows(origin), let method = headers.value(of: "access-control-request-method"),
            methods.contains(where: { method.equals($0) })
        else { return Answer(status: 401, headers: [allow]) }
        var answer = [allow]
        var vary = [String]()
        if policy.allowsAny {
            answer.append(MetadataItem("Access-Control-Allow-Origin", "*"))
        } else {
            answer.append(MetadataItem(name: Array("Access-Control-Allow-Origin".utf8), value: origin))
            vary.append("Origin")
        }
        if let maxAge = policy.maxAge {
            answer.append(MetadataItem(name: Array("Access-Control-Max-Age".utf8), value: maxAge))
        }
        answer.append(MetadataItem(name: Array("Access-Control-Allow-Methods".utf8), value: allowed))
        let requested = requestHeaders(headers)
        if !requested.isEmpty {
            answer.append(MetadataItem(name: Array("Access-Control-Allow-Headers".utf8), value: requested))
            vary.append("Access-Control-Request-Headers")
        }
        if !vary.isEmpty { answer.append(MetadataItem("Vary", vary.joined(separator: ", "))) }
        return Answer(status: 200, headers: answer)
    }

    /// What an actual (not preflight) answer carries beside its own headers; nothing for an origin that is not allowed.
    /// - Parameters:
    ///   - origin: value of `Origin`.
    ///   - response: the answer's own headers, whose metadata names are exposed.
    package func headers(origin: [UInt8], response: [MetadataItem]) -> [MetadataItem] {
        guard !origin.isEmpty, allows(origin) else { return [] }
        var names = Self.exposedHeaders.map { Array($0.utf8) }
        for item in response
        where item.name.hasPrefixIgnoringCase("x-container-meta") || item.name.hasPrefixIgnoringCase("x-object-meta") {
            names.append(item.name.map(ASCII.lower))
        }
        for name in exposed.map({ $0.map(ASCII.lower) }) where !names.contains(name) {
            names.append(name)
        }
        let list = Array(names.joined(separator: Array(", ".utf8)))
        let expose = MetadataItem(name: Array("Access-Control-Expose-Headers".utf8), value: list)
        if allowsAny { return [expose, MetadataItem("Access-Control-Allow-Origin", "*")] }
        return [
            expose, MetadataItem(name: Array("Access-Control-Allow-Origin".utf8), value: origin),
            MetadataItem("Vary", "Origin"),
        ]
    }

    private var allowsAny: Bool {
        allowedOrigins.count == 1 && allowedOrigins[0].equals("*")
    }

    private func allows(_ origin: [UInt8]) -> Bool {
        allowedOrigins.contains { $0 == origin || $0.equals("*") }
    }

    /// The requested names, tidied: `a,b` becomes `a, b`.
    private static func requestHeaders(_ headers: some HeaderFields) -> [UInt8] {
        let value = headers.value(of: "access-control-request-headers") ?? []
        let names = value.split(separator: UInt8(ascii: ",")).prefix(maximumRequestHeaders)
        return Array(names.map(\.trimmed).filter { !$0.isEmpty }.joined(separator: Array(", ".utf8)))
    }
}
