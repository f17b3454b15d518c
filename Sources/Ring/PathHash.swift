internal import CCrypto

/// The 128-bit name of an account, container or object inside the cluster: MD5 of
/// `prefix + "/account[/container[/object]]" + suffix`, as OpenStack Swift computes it (`swift.common.utils.hash_path`).
///
/// The first four bytes select the partition, the whole is the key of the index and of the log.
package struct PathHash: Hashable, Comparable, Sendable {
    /// Bytes 0 to 7 of the digest, big endian.
    package let high: UInt64
    /// Bytes 8 to 15 of the digest, big endian.
    package let low: UInt64

    @inlinable
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The order of the digest's bytes, so that a partition is a range whatever the part power.
    @inlinable
    package static func < (left: PathHash, right: PathHash) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }

    /// The partition of this name in a ring of 2^`partPower` partitions.
    @inlinable
    package func partition(partPower: Int) -> Int {
        partPower == 0 ? 0 : Int(high >> UInt64(64 - partPower))
    }

    /// 32 lower-case hexadecimal digits.
    package var hex: String {
        func digits(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }
        return digits(high) + digits(low)
    }
}

/// Hashes paths with the cluster's secret prefix and suffix (`swift_hash_path_prefix` and `_suffix` of OpenStack Swift).
package struct PathHasher: Sendable {
    private let prefix: [UInt8]
    private let suffix: [UInt8]

    package init(prefix: [UInt8], suffix: [UInt8]) {
        self.prefix = prefix
        self.suffix = suffix
    }

    /// The hash of `/account`.
    package func hash(account: [UInt8]) -> PathHash {
        var bytes = start(account.count)
        append(account, to: &bytes)
        return finish(&bytes)
    }

    /// The hash of `/account/container`.
    package func hash(account: [UInt8], container: [UInt8]) -> PathHash {
        var bytes = start(account.count + container.count)
        append(account, to: &bytes)
        append(container, to: &bytes)
        return finish(&bytes)
    }

    /// The hash of `/account/container/object`.
    package func hash(
        account: [UInt8], container: [UInt8], object: [UInt8]
    ) -> PathHash {
        var bytes = start(account.count + container.count + object.count)
        append(account, to: &bytes)
        append(container, to: &bytes)
        append(object, to: &bytes)
        return finish(&bytes)
    }

    /// The hash of a path that already has its leading slash, such as `/account/container`.
    package func hash(path: some Collection<UInt8>) -> PathHash {
        var bytes = start(path.count)
        bytes.append(contentsOf: path)
        return finish(&bytes)
    }

    private func start(_ count: Int) -> [UInt8] {
        var bytes = [UInt8]()
        bytes.reserveCapacity(prefix.count + suffix.count + count + 3)
        bytes.append(contentsOf: prefix)
        return bytes
    }

    private func append(_ element: [UInt8], to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "/"))
        bytes.append(contentsOf: element)
    }

    private func finish(_ bytes: inout [UInt8]) -> PathHash {
        bytes.append(contentsOf: suffix)
        return withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { digest in
            // MD5 names things here, it protects nothing; libcrypto has it in every provider that is loaded by default.
            var length: UInt32 = 16
            let done = bytes.withUnsafeBytes {
                EVP_Digest($0.baseAddress, $0.count, digest.baseAddress, &length, Self.md5, nil)
            }
            precondition(done == 1, "libcrypto refused MD5: is a FIPS-only provider configured?")
            return PathHash(
                high: UInt64(bigEndian: digest.load(as: UInt64.self)),
                low: UInt64(bigEndian: digest.load(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// Fetched once: an implicit fetch per digest costs more than the digest.
    nonisolated(unsafe) private static let md5 = EVP_MD_fetch(nil, "MD5", nil)
}
