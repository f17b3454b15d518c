/// An answer of the Swift API that is not success: a status, and the sentence of a constraint or none.
///
/// Without a sentence the body is the HTML page of the status (`SwiftErrorBody`).
package struct SwiftError: Error, Equatable, Sendable {
    /// HTTP status code.
    package let status: Int
    /// Body as plain text; nil for the page of the status.
    package let text: [UInt8]?

    package init(_ status: Int) {
        self.status = status
        text = nil
    }

    package init(_ status: Int, _ text: String) {
        self.status = status
        self.text = Array(text.utf8)
    }

    package init(_ status: Int, text: [UInt8]) {
        self.status = status
        self.text = text
    }

    /// Content-Type of the body.
    package var contentType: StaticString {
        text == nil ? "text/html; charset=UTF-8" : "text/plain; charset=UTF-8"
    }

    /// The body; HEAD answers have none.
    package var body: [UInt8] {
        text ?? SwiftErrorBody.html(status)
    }
}
