internal import CISAL

/// The checksum of records, index values and blob blocks (CRC-32C, RFC 3720 12.1).
enum CRC32C {
    /// The checksum of `bytes`, or of what `seed` is the checksum of followed by `bytes`.
    static func checksum(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
        var crc = ~seed
        var done = 0
        while done < bytes.count {
            // The library counts in 32 bits.
            let count = min(bytes.count - done, 1 << 30)
            let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress! + done)
            crc = crc32_iscsi(start.assumingMemoryBound(to: UInt8.self), Int32(count), crc)
            done += count
        }
        return ~crc
    }
}
