import HTTPServer
import Testing

@Suite struct HTTPMethodTests {
    @Test(arguments: [HTTPMethod.get, .head, .put, .post, .delete, .copy, .options, .patch, .trace, .connect])
    func spells(_ method: HTTPMethod) {
        let name = method.name.description
        #expect(Self.method(name) == method)
        for other in [name.lowercased(), name + "S", String(name.dropLast()), String(name.dropLast()) + "!"] {
            #expect(Self.method(other) == .other)
        }
    }

    @Test(arguments: ["", "X", "GE", "PROPFIND"]) func knowsNoOther(_ name: String) {
        #expect(Self.method(name) == .other)
    }

    private static func method(_ name: String) -> HTTPMethod {
        Array(name.utf8).withUnsafeBytes { HTTPMethod(bytes: $0) }
    }
}
