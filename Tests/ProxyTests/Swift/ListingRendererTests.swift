import NIOCore
import Testing

@testable import Proxy

@Suite struct ListingRendererTests {
    private let ticks: UInt64 = 140_246_467_704_188
    private let hash = Array("d41d8cd98f00b204e9800998ecf8427e".utf8)

    private func container(_ format: ListingFormat, _ names: [String] = ["a", "b/"]) -> String {
        var buffer = ByteBuffer()
        var renderer = ListingRenderer(.container, named: Array("c\"<".utf8), format: format)
        renderer.begin(into: &buffer)
        for name in names {
            if name.hasSuffix("/") {
                renderer.subdir(Array(name.utf8), into: &buffer)
            } else {
                renderer.object(
                    name: Array(name.utf8), hash: hash, bytes: 12, contentType: Array("text/plain".utf8),
                    lastModified: ticks, into: &buffer)
            }
        }
        renderer.end(into: &buffer)
        return String(buffer: buffer)
    }

    private func account(_ format: ListingFormat) -> String {
        var buffer = ByteBuffer()
        var renderer = ListingRenderer(.account, named: Array("AUTH_x".utf8), format: format)
        renderer.begin(into: &buffer)
        renderer.container(
            name: Array("c&d".utf8), count: 3, bytes: .max, lastModified: 0, policy: Array("gold".utf8), into: &buffer)
        renderer.subdir(Array("p/".utf8), into: &buffer)
        renderer.end(into: &buffer)
        return String(buffer: buffer)
    }

    @Test func containers() {
        #expect(container(.text) == "a\nb/\n")
        #expect(
            container(.json)
                == #"[{"name":"a","hash":"d41d8cd98f00b204e9800998ecf8427e","bytes":12,"content_type":"text/plain","#
                + #""last_modified":"2014-06-11T05:31:17.041880"},{"subdir":"b/"}]"#)
        let xml =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"c&quot;&lt;\"><object><name>a</name>"
            + "<hash>d41d8cd98f00b204e9800998ecf8427e</hash><bytes>12</bytes><content_type>text/plain</content_type>"
            + "<last_modified>2014-06-11T05:31:17.041880</last_modified></object>"
            + "<subdir name=\"b/\"><name>b/</name></subdir></container>"
        #expect(container(.xml) == xml)
        #expect(container(.textXML) == xml)
    }

    @Test func accounts() {
        #expect(account(.text) == "c&d\np/\n")
        #expect(
            account(.json)
                == #"[{"name":"c&d","count":3,"bytes":18446744073709551615,"#
                + #""last_modified":"1970-01-01T00:00:00.000000","storage_policy":"gold"},{"subdir":"p/"}]"#)
        #expect(
            account(.xml)
                == "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<account name=\"AUTH_x\">\n<container>"
                + "<name>c&amp;d</name><count>3</count><bytes>18446744073709551615</bytes>"
                + "<last_modified>1970-01-01T00:00:00.000000</last_modified>"
                + "<storage_policy>gold</storage_policy></container>\n<subdir name=\"p/\" />\n</account>")
    }

    @Test func empty() {
        #expect(container(.text, []) == "")
        #expect(container(.json, []) == "[]")
        #expect(ListingRenderer.status(format: .text, isEmpty: true) == 204)
        #expect(ListingRenderer.status(format: .text, isEmpty: false) == 200)
        #expect(ListingRenderer.status(format: .json, isEmpty: true) == 200)
    }

    private func escaped(_ text: [UInt8], _ put: (inout ByteCursor, UnsafeRawBufferPointer) -> Void) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: text.count * ByteCursor.longestEscape + 8)
        let count = memory.withUnsafeMutableBytes { memory in
            var cursor = ByteCursor(memory.baseAddress!)
            cursor.put("<a>")  // Escapes look at the bytes before them.
            text.withUnsafeBytes { put(&cursor, $0) }
            return cursor.position - UnsafeMutableRawPointer(memory.baseAddress!)
        }
        return Array(memory[3..<count])
    }

    @Test(arguments: [
        ("plain text of more than eight bytes é €", "plain text of more than eight bytes é €"),
        ("\"", "\\\""), ("a\\b", "a\\\\b"), ("1234567\"90", "1234567\\\"90"), ("\u{8}\u{c}\n\r\t", "\\b\\f\\n\\r\\t"),
        ("\u{1}\u{1f}", "\\u0001\\u001f"), ("\u{7f}", "\u{7f}"), ("/", "/"), ("\u{10FFFF}", "\u{10FFFF}"),
    ])
    func json(_ text: String, _ expected: String) {
        #expect(escaped(Array(text.utf8)) { $0.put(json: $1) } == Array(expected.utf8))
    }

    @Test(arguments: [
        ("plain text of more than eight bytes é €", "plain text of more than eight bytes é €"),
        ("a<b>&\"'", "a&lt;b&gt;&amp;&quot;'"), ("\t\n\r", "&#9;&#10;&#13;"), ("\u{1}", "\u{FFFD}"),
        ("\u{FFFE}x\u{FFFF}", "\u{FFFD}x\u{FFFD}"), ("123456\u{FFFE}", "123456\u{FFFD}"),
        ("1234567\u{FFFF}890", "1234567\u{FFFD}890"), ("\u{FFFD}\u{F0BF}", "\u{FFFD}\u{F0BF}"),
    ])
    func xml(_ text: String, _ expected: String) {
        #expect(escaped(Array(text.utf8)) { $0.put(xml: $1) } == Array(expected.utf8))
    }

    /// Every character at every offset of a word, against a byte-by-byte model.
    @Test func escapesAtEveryOffset() {
        for scalar in (0..<0x180).compactMap({ Unicode.Scalar($0 as UInt32) }) {
            for offset in 0..<10 {
                let text = String(repeating: "x", count: offset) + String(Character(scalar)) + "yyyyyyyyy"
                let expected = text.unicodeScalars.map { scalar -> String in
                    switch scalar.value {
                    case 0x22: return "\\\""
                    case 0x5C: return "\\\\"
                    case 8: return "\\b"
                    case 9: return "\\t"
                    case 10: return "\\n"
                    case 12: return "\\f"
                    case 13: return "\\r"
                    case 0..<32:
                        let digits = String(scalar.value, radix: 16)
                        return "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                    default: return String(Character(scalar))
                    }
                }
                #expect(escaped(Array(text.utf8)) { $0.put(json: $1) } == Array(expected.joined().utf8))
            }
        }
    }

    @Test func decimals() {
        var values: [UInt64] = [0, .max]
        var power: UInt64 = 1
        for _ in 0..<19 {
            power *= 10
            values += [power - 1, power]
        }
        for value in values {
            var memory = [UInt8](repeating: 0, count: 20)
            let count = memory.withUnsafeMutableBytes { memory in
                var cursor = ByteCursor(memory.baseAddress!)
                cursor.put(decimal: value)
                return cursor.position - UnsafeMutableRawPointer(memory.baseAddress!)
            }
            #expect(Array(memory.prefix(count)) == Array(String(value).utf8))
        }
    }
}
