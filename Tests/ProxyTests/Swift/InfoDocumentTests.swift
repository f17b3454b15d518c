import Testing

@testable import Proxy

@Suite struct InfoDocumentTests {
    @Test func document() {
        let document = InfoDocument(
            version: "1.0\"x",
            policies: [
                .init(name: "gold", aliases: ["best", "gold"], isDefault: true), .init(name: "tin"),
            ], constraints: Constraints())
        #expect(
            String(decoding: document.json(), as: UTF8.self)
                == #"{"swift":{"version":"1.0\"x","strict_cors_mode":true,"policies":[{"name":"gold","#
                + #""aliases":"gold, best","default":true},{"name":"tin","aliases":"tin"}],"#
                + #""allow_account_management":true,"account_autocreate":true,"allow_open_expired":false,"#
                + #""max_file_size":5368709122,"max_meta_name_length":128,"max_meta_value_length":256,"#
                + #""max_meta_count":90,"max_meta_overall_size":4096,"max_header_size":8192,"#
                + #""max_object_name_length":1024,"container_listing_limit":10000,"account_listing_limit":10000,"#
                + #""max_account_name_length":256,"max_container_name_length":256,"extra_header_count":0,"#
                + #""valid_api_versions":["v1","v1.0"]},"tempauth":{"account_acls":true}}"#)
    }

    @Test func withoutUsers() {
        var document = InfoDocument(version: "1", policies: [], constraints: Constraints())
        document.hasUsers = false
        #expect(!String(decoding: document.json(), as: UTF8.self).contains("tempauth"))
    }
}
