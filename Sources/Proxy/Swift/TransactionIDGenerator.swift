/// Makes transaction ids, `tx` + 21 hexadecimal digits + `-` + ten of the time, sent as `X-Trans-Id`. One per event loop.
package struct TransactionIDGenerator: Sendable {
    /// Bytes of `X-Trans-Id-Extra` that are kept.
    private static let extraLength = 32
    private static let digits = Array("0123456789abcdef".utf8)

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
        var text = [UInt8]()
        text.reserveCapacity(34)
        text.append("tx")
        append(random(), count: 16, to: &text)
        append(random(), count: 5, to: &text)
        text.append(UInt8(ascii: "-"))
        append(now, count: 10, to: &text)
        if let extra, !extra.isEmpty {
            text.append(UInt8(ascii: "-"))
            text += PercentEncoding.encoded(extra.prefix(Self.extraLength))
        }
        return text
    }

    /// The lowest `count` digits.
    private func append(_ value: UInt64, count: Int, to text: inout [UInt8]) {
        for index in stride(from: count - 1, through: 0, by: -1) {
            text.append(Self.digits[Int(truncatingIfNeeded: value >> UInt64(index * 4)) & 15])
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
