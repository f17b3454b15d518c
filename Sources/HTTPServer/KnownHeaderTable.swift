private import Glibc

/// Finds the `KnownHeader` of a name with one probe and one comparison in nearly all cases.
///
/// Open addressing over a hash of length, first four and last four bytes. The memory is made once and never changes,
/// hence the unchecked conformance.
struct KnownHeaderTable: @unchecked Sendable {
    static let shared = KnownHeaderTable()

    private static let bucketBits = 8
    /// Bytes per name: more than the longest has.
    private static let stride = 32
    private static let shortest = 4
    private static let free: UInt8 = 255

    private let buckets: UnsafePointer<UInt8>
    private let names: UnsafePointer<UInt8>
    private let lengths: UnsafePointer<UInt8>

    private init() {
        let buckets = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << Self.bucketBits)
        buckets.initialize(repeating: Self.free, count: 1 << Self.bucketBits)
        let names = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.stride * KnownHeader.allCases.count)
        names.initialize(repeating: 0, count: Self.stride * KnownHeader.allCases.count)
        let lengths = UnsafeMutablePointer<UInt8>.allocate(capacity: KnownHeader.allCases.count)
        for header in KnownHeader.allCases {
            let name = UnsafeRawBufferPointer(start: header.name.utf8Start, count: header.name.utf8CodeUnitCount)
            precondition(name.count >= Self.shortest && name.count <= Self.stride, "name does not fit the table")
            for index in 0..<name.count { names[Int(header.rawValue) * Self.stride + index] = name[index] }
            lengths[Int(header.rawValue)] = UInt8(name.count)
            var bucket = Self.bucket(name)
            while buckets[bucket] != Self.free { bucket = Self.next(bucket) }
            buckets[bucket] = header.rawValue
        }
        self.buckets = UnsafePointer(buckets)
        self.names = UnsafePointer(names)
        self.lengths = UnsafePointer(lengths)
    }

    /// `name` consists of token characters; the case of letters does not matter.
    func find(_ name: UnsafeRawBufferPointer) -> KnownHeader? {
        guard name.count >= Self.shortest, name.count <= Self.stride else { return nil }
        var bucket = Self.bucket(name)
        while buckets[bucket] != Self.free {
            if matches(Int(buckets[bucket]), name) { return KnownHeader(rawValue: buckets[bucket]) }
            bucket = Self.next(bucket)
        }
        return nil
    }

    private func matches(_ header: Int, _ name: UnsafeRawBufferPointer) -> Bool {
        guard Int(lengths[header]) == name.count else { return false }
        let known = names + header * Self.stride
        // Letters, digits and the hyphen are all that known names have; among token characters, setting this bit
        // maps nothing but the upper-case letter on any of them.
        for index in 0..<name.count where name[index] | 0x20 != known[index] { return false }
        return true
    }

    private static func bucket(_ name: UnsafeRawBufferPointer) -> Int {
        let first = name.loadUnaligned(fromByteOffset: 0, as: UInt32.self) | 0x2020_2020
        let last = name.loadUnaligned(fromByteOffset: name.count - 4, as: UInt32.self) | 0x2020_2020
        let mixed = (UInt64(first) << 32 | UInt64(last)) ^ UInt64(name.count)
        return Int(truncatingIfNeeded: (mixed &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - bucketBits))
    }

    private static func next(_ bucket: Int) -> Int {
        (bucket + 1) & (1 << bucketBits - 1)
    }
}
