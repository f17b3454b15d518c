internal import CISAL
package import NIOCore

/// CRC-32C (Castagnoli; RFC 3720 12.1), the checksum of frames and chunks. It may be taken over several pieces in turn.
package struct CRC32C: Sendable {
    private var register: UInt32 = 0xffff_ffff

    package init() {}

    /// The checksum of everything so far.
    package var value: UInt32 { ~register }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        // ISA-L counts in `int` and takes a mutable pointer that it only reads.
        guard let start = bytes.baseAddress else { return }
        var offset = 0
        while offset < bytes.count {
            let count = min(bytes.count - offset, 1 << 30)
            let piece = UnsafeMutablePointer(mutating: (start + offset).assumingMemoryBound(to: UInt8.self))
            register = crc32_iscsi(piece, Int32(count), register)
            offset += count
        }
    }

    package mutating func update(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { update($0) }
    }

    /// The checksum of a buffer's readable bytes.
    package static func of(_ buffer: ByteBuffer) -> UInt32 {
        var checksum = CRC32C()
        checksum.update(buffer)
        return checksum.value
    }
}
