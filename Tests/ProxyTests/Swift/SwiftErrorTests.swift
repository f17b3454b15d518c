import Testing

@testable import Proxy

@Suite struct SwiftErrorTests {
    @Test func bodies() {
        #expect(
            SwiftError(404).body
                == Array("<html><h1>Not Found</h1><p>The resource could not be found.</p></html>".utf8))
        #expect(SwiftError(412, "Bad URL").body == Array("Bad URL".utf8))
        #expect("\(SwiftError(404).contentType)" == "text/html; charset=UTF-8")
        #expect("\(SwiftError(412, "Bad URL").contentType)" == "text/plain; charset=UTF-8")
    }

    @Test func everyErrorHasAPage() {
        for status in SwiftErrorBody.statuses where status >= 400 {
            #expect(!SwiftErrorBody.html(status).isEmpty)
            #expect(!SwiftErrorBody.reason(status).isEmpty)
        }
        for status in [100, 200, 201, 204, 206, 304, 999] {
            #expect(SwiftErrorBody.html(status).isEmpty)
        }
        #expect(
            SwiftErrorBody.html(202)
                == Array("<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>".utf8))
    }
}
