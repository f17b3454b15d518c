import HTTPServer
import NIOCore

/// What a parser said, in a form that is easy to compare: pieces of a body joined, errors as their status.
enum Said: Equatable, CustomStringConvertible {
    case head(String)
    case body(String)
    case end
    case failure(Int, String)

    var description: String {
        switch self {
        case .head(let text): "head(\(text))"
        case .body(let text): "body(\(text.prefix(80)))"
        case .end: "end"
        case .failure(let status, let reason): "failure(\(status), \(reason))"
        }
    }
}

/// Feeds bytes in pieces of `step` and notes what comes, request after request.
func transcript(_ bytes: [UInt8], step: Int, limits: HTTPLimits = HTTPLimits()) -> [Said] {
    var parser = HTTPRequestParser(limits: limits)
    var said: [Said] = []
    var index = 0
    while index < bytes.count {
        let end = min(index + step, bytes.count)
        parser.feed(ByteBuffer(bytes: bytes[index..<end]))
        index = end
        while let event = parser.next() {
            note(event, in: &said)
            if case .end = event { parser.startNextRequest() }
        }
    }
    return said
}

func transcript(_ text: String, step: Int = .max, limits: HTTPLimits = HTTPLimits()) -> [Said] {
    let bytes = Array(text.utf8)
    return transcript(bytes, step: min(step, bytes.count + 1), limits: limits)
}

private func note(_ event: HTTPRequestParser.Event, in said: inout [Said]) {
    switch event {
    case .head(let head): said.append(.head(describe(head)))
    case .body(let chunk):
        let text = String(buffer: chunk)
        if case .body(let before) = said.last {
            said[said.count - 1] = .body(before + text)
        } else {
            said.append(.body(text))
        }
    case .end: said.append(.end)
    case .failure(let error): said.append(.failure(Int(error.status.rawValue), error.reason.description))
    }
}

/// Method, target, version and headers in one line.
private func describe(_ head: RequestHead) -> String {
    var text = "\(String(decoding: head.methodBytes, as: UTF8.self)) \(String(decoding: head.target, as: UTF8.self))"
    text += " 1.\(head.minorVersion)"
    head.forEachField { name, value in
        text += " \(String(decoding: name, as: UTF8.self))=\(String(decoding: value, as: UTF8.self))"
    }
    return text
}
