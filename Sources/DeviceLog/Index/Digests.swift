internal import Ring

/// Some neighbouring digests of one policy, as they are stored.
struct DigestPage: Equatable {
    static let buckets = 64

    var policy: UInt8
    /// Buckets `number * 64` and the 63 behind.
    var number: UInt16
    var values: [UInt64]
}

/// Per policy and bucket (top 16 bits of the hash) the XOR over what is there, so that two replicas find their
/// differences without a look at their disks. Not synchronised.
final class Digests: @unchecked Sendable {
    static let buckets = 65536
    private static let pages = buckets / DigestPage.buckets

    private final class Policy {
        let values = UnsafeMutablePointer<UInt64>.allocate(capacity: Digests.buckets)
        /// XOR over each page, so that a wide range is not a walk over all buckets.
        let sums = UnsafeMutablePointer<UInt64>.allocate(capacity: Digests.pages)
        /// A bit for each page.
        let dirty = UnsafeMutablePointer<UInt64>.allocate(capacity: Digests.pages / 64)

        init() {
            values.initialize(repeating: 0, count: Digests.buckets)
            sums.initialize(repeating: 0, count: Digests.pages)
            dirty.initialize(repeating: 0, count: Digests.pages / 64)
        }

        deinit {
            values.deallocate()
            sums.deallocate()
            dirty.deallocate()
        }
    }

    private var policies: [UInt8: Policy] = [:]

    private func policy(_ number: UInt8) -> Policy {
        if let policy = policies[number] { return policy }
        let policy = Policy()
        policies[number] = policy
        return policy
    }

    /// Takes an entry in, or out again.
    func toggle(_ key: ObjectKey, _ version: ObjectVersion) {
        guard version.kind != .absent else { return }
        let policy = policy(key.policy)
        let bucket = Int(key.hash.high >> 48)
        let digest = Self.digest(key.hash, version)
        let page = bucket / DigestPage.buckets
        policy.values[bucket] ^= digest
        policy.sums[page] ^= digest
        policy.dirty[page / 64] |= 1 << UInt64(page % 64)
    }

    func value(policy: UInt8, buckets: Range<Int>) -> UInt64 {
        guard let policy = policies[policy] else { return 0 }
        let buckets = buckets.clamped(to: 0..<Self.buckets)
        var bucket = buckets.lowerBound
        var result: UInt64 = 0
        while bucket < buckets.upperBound {
            if bucket % DigestPage.buckets == 0, bucket + DigestPage.buckets <= buckets.upperBound {
                result ^= policy.sums[bucket / DigestPage.buckets]
                bucket += DigestPage.buckets
            } else {
                result ^= policy.values[bucket]
                bucket += 1
            }
        }
        return result
    }

    func load(_ page: DigestPage) {
        let policy = policy(page.policy)
        let number = Int(page.number)
        guard number < Self.pages, page.values.count == DigestPage.buckets else { return }
        page.values.withUnsafeBufferPointer { values in
            (policy.values + number * DigestPage.buckets).update(from: values.baseAddress!, count: values.count)
            var sum: UInt64 = 0
            var index = 0
            while index < values.count {
                sum ^= values[index]
                index += 1
            }
            policy.sums[number] = sum
        }
    }

    /// The pages that changed since the last call.
    func takeDirty() -> [DigestPage] {
        var pages: [DigestPage] = []
        for (number, policy) in policies {
            for word in 0..<Self.pages / 64 where policy.dirty[word] != 0 {
                var bits = policy.dirty[word]
                while bits != 0 {
                    let page = word * 64 + bits.trailingZeroBitCount
                    bits &= bits - 1
                    let start = policy.values + page * DigestPage.buckets
                    let values = Array(UnsafeBufferPointer(start: start, count: DigestPage.buckets))
                    pages.append(DigestPage(policy: number, number: UInt16(page), values: values))
                }
                policy.dirty[word] = 0
            }
        }
        return pages
    }

    /// What one entry contributes: every input bit changes about half of the result.
    static func digest(_ hash: PathHash, _ version: ObjectVersion) -> UInt64 {
        var value = mix(hash.high ^ mix(hash.low))
        value = mix(value ^ version.timestamp)
        return mix(value ^ UInt64(version.kind.rawValue))
    }

    /// The finaliser of SplitMix64.
    private static func mix(_ input: UInt64) -> UInt64 {
        var value = input &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
