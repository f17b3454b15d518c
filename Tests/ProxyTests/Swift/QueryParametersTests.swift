import Testing

@testable import Proxy

@Suite struct QueryParametersTests {
    @Test func decodesOnce() throws {
        let query = try QueryParameters(parsing: Array("a=1%2526&b&c=&%64=x=y&a=2&&=z".utf8))
        #expect(query.value(of: "a").map { Array($0) } == Array("2".utf8))
        #expect(query.value(of: "b").map { Array($0) } == [])
        #expect(query.value(of: "c").map { Array($0) } == [])
        #expect(query.value(of: "d").map { Array($0) } == Array("x=y".utf8))
        #expect(query.value(of: "e") == nil)
        #expect(query.contains("b") && !query.contains("B"))
        #expect(try QueryParameters(parsing: Array("a=1%2526".utf8)).value(of: "a")?.elementsEqual("1%26".utf8) == true)
    }
}
