import Access
import Ring

/// What a node sends to be let in: `POST /ringfort/v1/join`, as JSON. Nothing in it is secret.
struct JoinRequest {
    static let path = "/ringfort/v1/join"
    static let maximumBody = 4096

    var claim: JoinToken.Claim
    /// The id of the node.
    var node: String
    var nonce: [UInt8]
    var proof: [UInt8]

    init(token: JoinToken, node: String, nonce: [UInt8]) {
        claim = token.claim
        self.node = node
        self.nonce = nonce
        proof = token.proof(of: Self.proven(node, nonce))
    }

    init?(body: [UInt8]) {
        guard let json = try? JSONValue(parsing: body), json["version"]?.integer == 1,
            let id = json.bytes("id"), id.count == 16, let role = json["role"]?.integer, (0...255).contains(role),
            let expiry = json["expiry"]?.integer, expiry >= 0, let node = json["node"]?.string, node.utf8.count == 32,
            let nonce = json.bytes("nonce"), nonce.count == JoinToken.nonceLength, let proof = json.bytes("proof")
        else { return nil }
        claim = JoinToken.Claim(id: id, role: UInt8(role), expiry: UInt64(expiry))
        self.node = node
        self.nonce = nonce
        self.proof = proof
    }

    var body: [UInt8] {
        JSONValue.object([
            JSONMember("version", .integer(1)), .hex("id", claim.id), JSONMember("role", .integer(Int(claim.role))),
            JSONMember("expiry", .integer(Int(claim.expiry))), JSONMember("node", .string(node)),
            .hex("nonce", nonce), .hex("proof", proof),
        ]).encoded
    }

    /// Whether the sender holds the token that it claims.
    func isProven(by token: JoinToken) -> Bool { token.verifies(proof, of: Self.proven(node, nonce)) }

    private static func proven(_ node: String, _ nonce: [UInt8]) -> [UInt8] { Array(node.utf8) + nonce }
}

/// What a new node is told: the secrets of the cluster, and where its members are. Sealed for the holder of the token.
struct JoinAnswer {
    struct Member {
        var host: String
        var port: Int
    }

    var identity: ClusterIdentity
    /// The file of the users, as it is.
    var users: [UInt8]
    /// The key of the first user, if the node that answers still has it.
    var firstKey: [UInt8]?
    /// Members to ask, who answered first.
    var members: [Member]

    static let maximumBody = 4 << 20

    init(identity: ClusterIdentity, users: [UInt8], firstKey: [UInt8]?, members: [Member]) {
        self.identity = identity
        self.users = users
        self.firstKey = firstKey
        self.members = members
    }

    func sealed(for request: JoinRequest, token: JoinToken, nonce: [UInt8]) throws -> [UInt8] {
        let secret = JSONValue.object([
            JSONMember("identity", identity.json), .hex("users", users), .hex("first_key", firstKey ?? []),
            JSONMember(
                "members",
                .array(
                    members.map {
                        .object([JSONMember("host", .string($0.host)), JSONMember("port", .integer($0.port))])
                    })),
        ])
        let sealed = try token.seal(secret.encoded, nonces: request.nonce + nonce)
        return JSONValue.object([JSONMember("version", .integer(1)), .hex("nonce", nonce), .hex("sealed", sealed)])
            .encoded
    }

    /// - Throws: `CommandError` when the answer is not from a holder of the cluster's key.
    init(body: [UInt8], request: JoinRequest, token: JoinToken) throws {
        guard let json = try? JSONValue(parsing: body), json["version"]?.integer == 1,
            let nonce = json.bytes("nonce"), nonce.count == JoinToken.nonceLength, let sealed = json.bytes("sealed"),
            let text = try? token.open(sealed, nonces: request.nonce + nonce),
            let secret = try? JSONValue(parsing: text),
            let identity = secret["identity"].flatMap({ ClusterIdentity(json: $0) }), let users = secret.bytes("users")
        else { throw CommandError("the answer does not come from the cluster that made the token") }
        self.identity = identity
        self.users = users
        firstKey = secret.bytes("first_key").flatMap { $0.isEmpty ? nil : $0 }
        members = (secret["members"]?.array ?? []).compactMap { member in
            guard let host = member["host"]?.string, let port = member["port"]?.integer, (1...65_535).contains(port)
            else { return nil }
            return Member(host: host, port: port)
        }
    }
}

extension JSONMember {
    static func hex(_ name: String, _ bytes: [UInt8]) -> JSONMember {
        JSONMember(name, .string(String(decoding: ByteText.hex(bytes), as: UTF8.self)))
    }
}

extension JSONValue {
    /// The bytes that a member spells as hexadecimal digits.
    func bytes(_ name: String) -> [UInt8]? { self[name]?.string.flatMap { ByteText.bytes(hex: $0.utf8) } }
}
