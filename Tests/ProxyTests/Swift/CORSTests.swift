import Testing

@testable import Proxy

@Suite struct CORSTests {
    private let methods: [StaticString] = ["GET", "PUT"]

    private func policy(_ origins: String, maxAge: String = "", expose: String = "") -> CORS {
        CORS(containerMetadata: [
            MetadataItem("X-Container-Meta-Access-Control-Allow-Origin", origins),
            MetadataItem("X-Container-Meta-Access-Control-Max-Age", maxAge),
            MetadataItem("X-Container-Meta-Access-Control-Expose-Headers", expose),
        ])
    }

    private func options(_ fields: [(String, String)], _ policy: CORS?) -> CORS.Answer {
        CORS.options(fields.map { MetadataItem($0.0, $0.1) }, policy: policy, methods: methods)
    }

    private let preflight = [("Origin", "http://a"), ("Access-Control-Request-Method", "GET")]
    private let allow = MetadataItem("Allow", "GET, PUT")

    @Test func plainOptions() {
        #expect(options([], policy("*")) == CORS.Answer(status: 200, headers: [allow]))
        #expect(options(preflight, nil) == CORS.Answer(status: 200, headers: [allow]))
    }

    @Test func refused() {
        let refusal = CORS.Answer(status: 401, headers: [allow])
        #expect(options(preflight, policy("http://b")) == refusal)
        #expect(options(preflight, policy("")) == refusal)
        #expect(options([("Origin", "http://a")], policy("*")) == refusal)
        #expect(
            options([("Origin", "http://a"), ("Access-Control-Request-Method", "DELETE")], policy("*")) == refusal)
    }

    @Test func allowed() {
        #expect(
            options(preflight, policy("*")).headers == [
                allow, MetadataItem("Access-Control-Allow-Origin", "*"),
                MetadataItem("Access-Control-Allow-Methods", "GET, PUT"),
            ])
        let asked = preflight + [("Access-Control-Request-Headers", "x-a,x-b , ,")]
        #expect(
            options(asked, policy("http://b http://a", maxAge: "60"))
                == CORS.Answer(
                    status: 200,
                    headers: [
                        allow, MetadataItem("Access-Control-Allow-Origin", "http://a"),
                        MetadataItem("Access-Control-Max-Age", "60"),
                        MetadataItem("Access-Control-Allow-Methods", "GET, PUT"),
                        MetadataItem("Access-Control-Allow-Headers", "x-a, x-b"),
                        MetadataItem("Vary", "Origin, Access-Control-Request-Headers"),
                    ]))
    }

    @Test func actualAnswers() {
        let response = [MetadataItem("X-Object-Meta-Color", "red"), MetadataItem("ETag", "x")]
        let origin = Array("http://a".utf8)
        #expect(policy("http://b").headers(origin: origin, response: response) == [])
        let names =
            "cache-control, content-language, content-type, expires, last-modified, pragma, etag, x-timestamp, "
            + "x-trans-id, x-openstack-request-id, x-object-meta-color, x-mine"
        #expect(
            policy("http://a", expose: "X-Mine etag").headers(origin: origin, response: response) == [
                MetadataItem("Access-Control-Expose-Headers", names),
                MetadataItem("Access-Control-Allow-Origin", "http://a"), MetadataItem("Vary", "Origin"),
            ])
        #expect(
            policy("*").headers(origin: origin, response: [])[1] == MetadataItem("Access-Control-Allow-Origin", "*"))
        #expect(policy("*").headers(origin: [], response: []) == [])
    }
}
