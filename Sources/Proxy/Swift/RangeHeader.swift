/// The parts of an object that a `Range` header selects (RFC 9110 14.2, with OpenStack Swift's rules against abuse).
package enum RangeHeader: Equatable, Sendable {
    /// No header, or one to ignore: 200 with everything.
    case whole
    /// 206 with `Content-Range`.
    case single(Range<UInt64>)
    /// 206 with `multipart/byteranges`, in the order asked for.
    case multiple([Range<UInt64>])
    /// 416 with `Content-Range: bytes */size`.
    case unsatisfiable

    /// More satisfiable ranges than this are refused.
    private static let maximumRanges = 50
    /// More overlapping pairs than this are refused.
    private static let maximumOverlaps = 2
    /// So many ranges must ascend.
    private static let maximumUnordered = 8

    private enum Specification {
        case from(UInt64, through: UInt64?)
        case suffix(UInt64)
    }

    /// - Parameter size: of the whole object in bytes.
    package static func resolve(_ header: [UInt8]?, size: UInt64) -> RangeHeader {
        guard let header, let specifications = parse(header) else { return .whole }
        let ranges = specifications.compactMap { satisfiable($0, size: size) }
        guard !ranges.isEmpty, !isAbusive(ranges) else { return .unsatisfiable }
        // A suffix of nothing is nothing: there is no Content-Range for it, so the whole (empty) object is sent.
        if size == 0 { return .whole }
        return ranges.count == 1 ? .single(ranges[0]) : .multiple(ranges)
    }

    /// `bytes 0-499/1234`
    package static func contentRange(_ range: Range<UInt64>, size: UInt64) -> [UInt8] {
        Array("bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)".utf8)
    }

    /// `bytes */1234`, for 416.
    package static func unsatisfiedContentRange(size: UInt64) -> [UInt8] {
        Array("bytes */\(size)".utf8)
    }

    /// Nil when any part is malformed: then the whole header counts for nothing.
    private static func parse(_ header: [UInt8]) -> [Specification]? {
        let text = header.filter { $0 != UInt8(ascii: " ") }
        guard text.hasPrefixIgnoringCase("bytes=") else { return nil }
        var specifications = [Specification]()
        for part in text.dropFirst(6).split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            guard let dash = part.firstIndex(of: UInt8(ascii: "-")) else { return nil }
            let (first, last) = (part[..<dash], part[(dash + 1)...])
            switch (first.decimal, last.decimal) {
            case (let start?, let end?):
                guard end >= start else { return nil }
                specifications.append(.from(start, through: end))
            case (let start?, nil) where last.isEmpty:
                specifications.append(.from(start, through: nil))
            case (nil, let length?) where first.isEmpty:
                specifications.append(.suffix(length))
            case (_, nil), (nil, _):
                return nil
            }
        }
        return specifications
    }

    private static func satisfiable(_ specification: Specification, size: UInt64) -> Range<UInt64>? {
        switch specification {
        case .suffix(let length):
            return length == 0 ? nil : (size - min(length, size))..<size
        case .from(let start, let end):
            guard start < size else { return nil }
            return start..<(end.map { min($0, size - 1) + 1 } ?? size)
        }
    }

    private static func isAbusive(_ ranges: [Range<UInt64>]) -> Bool {
        if ranges.count > maximumRanges { return true }
        var overlaps = 0
        for (index, range) in ranges.enumerated() {
            overlaps += ranges[(index + 1)...].count { overlap(range, $0) }
        }
        let ascends = zip(ranges, ranges.dropFirst()).allSatisfy { left, right in
            (left.lowerBound, left.upperBound) <= (right.lowerBound, right.upperBound)
        }
        return overlaps > maximumOverlaps || (!ascends && ranges.count >= maximumUnordered)
    }

    /// Same as swob: two equal ranges do not count as overlapping.
    private static func overlap(_ left: Range<UInt64>, _ right: Range<UInt64>) -> Bool {
        func isInside(_ point: UInt64, _ range: Range<UInt64>) -> Bool {
            range.lowerBound < point && point < range.upperBound
        }
        return isInside(right.lowerBound, left) || isInside(right.upperBound, left)
            || isInside(left.lowerBound, right) || isInside(left.upperBound, right)
    }
}
