import Testing

@testable import Access

@Suite struct ByteTextTests {
    @Test(
        arguments: [
            ([], "", ""), ([0], "00", "AA"), ([0xFB, 0xFF], "fbff", "-_8"), ([1, 2, 3], "010203", "AQID"),
        ] as [([UInt8], String, String)])
    func roundTrips(_ bytes: [UInt8], _ hex: String, _ base64: String) {
        #expect(ByteText.hex(bytes) == Array(hex.utf8))
        #expect(ByteText.bytes(hex: hex.utf8) == bytes)
        #expect(ByteText.bytes(hex: hex.uppercased().utf8) == bytes)
        #expect(ByteText.base64URL(bytes) == Array(base64.utf8))
        #expect(ByteText.bytes(base64URL: base64.utf8) == bytes)
    }

    @Test(arguments: ["A", "AB", "AA=", "A+", "-_9"])
    func refusesBase64(_ text: String) {
        #expect(ByteText.bytes(base64URL: text.utf8) == nil)
    }

    @Test(arguments: ["0", "0g", "000"])
    func refusesHex(_ text: String) {
        #expect(ByteText.bytes(hex: text.utf8) == nil)
    }
}
