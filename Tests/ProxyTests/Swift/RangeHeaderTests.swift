import Testing

@testable import Proxy

@Suite struct RangeHeaderTests {
    private func resolve(_ header: String?, _ size: UInt64 = 100) -> RangeHeader {
        RangeHeader.resolve(header.map { Array($0.utf8) }, size: size)
    }

    @Test(
        arguments: [
            (nil, RangeHeader.whole),
            ("bytes=0-49", .single(0..<50)),
            ("bytes=0-0", .single(0..<1)),
            ("Bytes=10-", .single(10..<100)),
            ("bytes=90-1000", .single(90..<100)),
            ("bytes=-10", .single(90..<100)),
            ("bytes=-1000", .single(0..<100)),
            ("bytes=-0", .unsatisfiable),
            ("bytes=100-", .unsatisfiable),
            ("bytes=100-200,-0", .unsatisfiable),
            ("bytes=0-9, 20-29", .multiple([0..<10, 20..<30])),
            ("bytes=20-29,0-9", .multiple([20..<30, 0..<10])),
            ("bytes=0-9,200-300", .single(0..<10)),
            ("bytes=0-99999999999999999999999999", .single(0..<100)),
            ("bytes=99999999999999999999999999-", .unsatisfiable),
            ("bytes=-99999999999999999999999999", .single(0..<100)),
            // Malformed: ignored as a whole.
            ("bytes=5-3", .whole),
            ("bytes=-", .whole),
            ("bytes=45", .whole),
            ("bytes=a-b", .whole),
            ("bytes=0-9,x", .whole),
            ("bytes=0-9,", .whole),
            ("bytes=--5", .whole),
            ("bytes=", .whole),
            ("items=0-9", .whole),
            ("bytes 0-9", .whole),
            ("", .whole),
            // Two overlapping pairs are allowed, three not.
            ("bytes=0-9,5-15,10-20", .multiple([0..<10, 5..<16, 10..<21])),
            ("bytes=0-50,10-60,20-70", .unsatisfiable),
            // Equal ranges do not overlap by swob's rule.
            ("bytes=0-9,0-9,0-9,0-9", .multiple([0..<10, 0..<10, 0..<10, 0..<10])),
            // Seven may come in any order, eight not.
            (
                "bytes=70-71,60-61,50-51,40-41,30-31,20-21,10-11",
                .multiple([70..<72, 60..<62, 50..<52, 40..<42, 30..<32, 20..<22, 10..<12])
            ),
            ("bytes=70-71,60-61,50-51,40-41,30-31,20-21,10-11,0-1", .unsatisfiable),
        ] as [(String?, RangeHeader)])
    func resolves(_ header: String?, _ expected: RangeHeader) {
        #expect(resolve(header) == expected)
    }

    @Test func manyRanges() {
        let fifty = (0..<50).map { "\($0 * 2)-\($0 * 2)" }
        guard case .multiple(let ranges) = resolve("bytes=" + fifty.joined(separator: ",")) else {
            Issue.record("fifty ranges are allowed")
            return
        }
        #expect(ranges.count == 50)
        #expect(resolve("bytes=" + (fifty + ["99-99"]).joined(separator: ",")) == .unsatisfiable)
        // Those that cannot be satisfied do not count.
        #expect(resolve("bytes=0-0," + [String](repeating: "200-", count: 60).joined(separator: ",")) == .single(0..<1))
    }

    @Test(arguments: [
        ("bytes=0-", RangeHeader.unsatisfiable), ("bytes=-5", .whole), ("bytes=-0", .unsatisfiable),
        ("bytes=0-5,-5", .whole), ("bytes=x", .whole),
    ])
    func emptyObject(_ header: String, _ expected: RangeHeader) {
        #expect(resolve(header, 0) == expected)
    }

    @Test func contentRange() {
        #expect(RangeHeader.contentRange(0..<500, size: 1234) == Array("bytes 0-499/1234".utf8))
        #expect(RangeHeader.unsatisfiedContentRange(size: 7) == Array("bytes */7".utf8))
    }

    @Test func multipart() {
        let ranges: [Range<UInt64>] = [0..<3, 5..<7]
        let frame = MultipartByteRanges(
            ranges: ranges, size: 10, objectType: Array("text/plain".utf8), boundary: (high: 0xAB, low: 1))
        let content = Array("0123456789".utf8)
        var body = [UInt8]()
        for (index, range) in ranges.enumerated() {
            body += frame.partHeader(index) + content[Int(range.lowerBound)..<Int(range.upperBound)]
            body.append(MultipartByteRanges.partEnd)
        }
        body += frame.end
        let boundary = "00000000000000ab0000000000000001"
        #expect(frame.contentType == Array("multipart/byteranges;boundary=\(boundary)".utf8))
        #expect(
            String(decoding: body, as: UTF8.self)
                == "--\(boundary)\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-2/10\r\n\r\n012\r\n"
                + "--\(boundary)\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-6/10\r\n\r\n56\r\n"
                + "--\(boundary)--")
        #expect(frame.totalLength == UInt64(body.count))
    }
}
