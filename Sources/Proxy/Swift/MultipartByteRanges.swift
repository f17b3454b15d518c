/// The frame of a `multipart/byteranges` body (RFC 9110 14.6): what stands around the parts, and its length.
///
/// The body is, for each range, `partHeader`, the bytes, `partEnd`; then `end`.
package struct MultipartByteRanges: Sendable {
    /// What follows the bytes of each part.
    package static let partEnd: StaticString = "\r\n"

    /// 32 hexadecimal digits.
    package let boundary: [UInt8]
    private let objectType: [UInt8]
    private let size: UInt64
    private let ranges: [Range<UInt64>]

    /// - Parameters:
    ///   - boundary: random; must not occur in the object, which 128 random bits assure.
    ///   - objectType: Content-Type of the object, repeated in each part.
    ///   - size: of the whole object.
    package init(
        ranges: [Range<UInt64>], size: UInt64, objectType: [UInt8], boundary: (high: UInt64, low: UInt64)
    ) {
        self.ranges = ranges
        self.size = size
        self.objectType = objectType
        func digits(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }
        self.boundary = Array((digits(boundary.high) + digits(boundary.low)).utf8)
    }

    /// Content-Type of the answer.
    package var contentType: [UInt8] {
        Array("multipart/byteranges;boundary=".utf8) + boundary
    }

    /// What precedes the bytes of the range at `index`.
    package func partHeader(_ index: Int) -> [UInt8] {
        var text = Array("--".utf8) + boundary
        text.append("\r\nContent-Type: ")
        text += objectType
        text.append("\r\nContent-Range: ")
        text += RangeHeader.contentRange(ranges[index], size: size)
        text.append("\r\n\r\n")
        return text
    }

    /// What closes the body.
    package var end: [UInt8] {
        Array("--".utf8) + boundary + Array("--".utf8)
    }

    /// Content-Length of the answer.
    package var totalLength: UInt64 {
        ranges.indices.reduce(UInt64(end.count)) { total, index in
            total + UInt64(partHeader(index).count) + UInt64(ranges[index].count)
                + UInt64(Self.partEnd.utf8CodeUnitCount)
        }
    }
}
