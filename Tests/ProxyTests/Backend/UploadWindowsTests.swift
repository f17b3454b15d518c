import Testing

@testable import Proxy

/// How much of a large body is on its way depends on how many there are.
struct UploadWindowsTests {
    @Test func manyUploadsShareTheMemoryThatFewHave() {
        var limits = StoreLimits()
        limits.uploadPiece = 100
        limits.uploadWindow = 1_000
        limits.uploadMemory = 4_000
        var uploads = UploadWindows(limits)
        let windows = (0...30).map { _ in
            defer { uploads.begin() }
            return uploads.window
        }
        #expect(windows[0...4].allSatisfy { $0 == 1_000 })
        #expect(windows[5] == 800)
        #expect(windows[8] == 500)
        #expect(windows[30] == 150)
        for _ in 0...30 { uploads.end() }
        #expect(uploads.window == 1_000)
    }

    @Test func aWindowBelowAPieceStaysWhatItIs() {
        var limits = StoreLimits()
        limits.uploadWindow = 64 << 10
        var uploads = UploadWindows(limits)
        for _ in 0..<1_000 { uploads.begin() }
        #expect(uploads.window == 64 << 10)
    }
}
