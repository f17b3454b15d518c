/// Makes transaction ids, `tx` + 21 hexadecimal digits + `-` + ten of the time, sent as `X-Trans-Id`. One for
/// each event loop.
package struct TransactionIDGenerator: Sendable {
    /// Bytes of `X-Trans-Id-Extra` that are kept.
    private static let extraLength = 32
    /// Without extra.
    private static let length = 34

    /// State of xoshiro256++ (Blackman and Vigna); ids need to differ, not to be secret.
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// - Parameter seed: random; not all zero.
    package init(seed: (UInt64, UInt64, UInt64, UInt64)) {
        state = seed
        if seed == (0, 0, 0, 0) { state.0 = 1 }
    }

    /// - Parameters:
    ///   - now: seconds since the epoch.
    ///   - extra: value of `X-Trans-Id-Extra`.
    package mutating func next(now: UInt64, extra: [UInt8]? = nil) -> [UInt8] {
        let (high, low) = (random(), random())
        var text = [UInt8](unsafeUninitializedCapacity: Self.length) { memory, count in
            memory[0] = UInt8(ascii: "t")
            memory[1] = UInt8(ascii: "x")
            Self.put(high, digits: 16, at: 2, in: memory)
            Self.put(low, digits: 5, at: 18, in: memory)
            memory[23] = UInt8(ascii: "-")
            Self.put(now, digits: 10, at: 24, in: memory)
            count = Self.length
        }
        if let extra, !extra.isEmpty {
            text.append(UInt8(ascii: "-"))
            text += PercentEncoding.encoded(extra.prefix(Self.extraLength))
        }
        return text
    }

    /// The lowest `digits` digits of `value`.
    private static func put(_ value: UInt64, digits: Int, at offset: Int, in memory: UnsafeMutableBufferPointer<UInt8>)
    {
        var rest = value
        for index in stride(from: offset + digits - 1, through: offset, by: -1) {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            memory[index] = digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
            rest >>= 4
        }
    }

    private mutating func random() -> UInt64 {
        func rotated(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
        let result = rotated(state.0 &+ state.3, 23) &+ state.0
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotated(state.3, 45)
        return result
    }
}
