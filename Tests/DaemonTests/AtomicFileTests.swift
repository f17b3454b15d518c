import Daemon
import Glibc
import Testing

struct AtomicFileTests {
    let directory = TemporaryDirectory()
    var path: String { directory.path + "/facts" }

    @Test func readsWhatWasWritten() throws {
        try AtomicFile.write(Array("one".utf8), to: path)
        try AtomicFile.write(Array("two two".utf8), to: path)
        #expect(try AtomicFile.read(path, limit: 100) == Array("two two".utf8))
        #expect(directory.names == ["facts"], "no draft is left over")
    }

    @Test func absentFileIsNil() throws {
        #expect(try AtomicFile.read(path, limit: 10) == nil)
    }

    @Test(arguments: [0, 1, 4095, 4096, 4097, 10_000])
    func sizesUpToTheLimitAreRead(size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try AtomicFile.write(bytes, to: path)
        #expect(try AtomicFile.read(path, limit: size) == bytes)
        guard size > 0 else { return }
        let refusal = #expect(throws: FileError.self) { try AtomicFile.read(path, limit: size - 1) }
        #expect(refusal?.code == EFBIG)
    }

    @Test func readsFilesThatDoNotSayHowLongTheyAre() throws {
        let status = try AtomicFile.read("/proc/self/status", limit: 1 << 16)
        #expect((status?.count ?? 0) > 100)
        #expect(throws: FileError.self) { try AtomicFile.read("/proc/self/status", limit: 50) }
    }

    @Test func modeHoldsWhateverTheOldFileWas() throws {
        try AtomicFile.write([1], to: path)
        try AtomicFile.write([2], to: path, mode: 0o600)
        var facts = stat()
        #expect(stat(path, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
    }

    @Test func failureLeavesTheOldFileAndNoDraft() throws {
        #expect(mkdir(path, 0o700) == 0)
        #expect(throws: FileError.self) { try AtomicFile.write([1], to: path) }
        #expect(directory.names == ["facts"])
        #expect(rmdir(path) == 0)
        #expect(throws: FileError.self) { try AtomicFile.write([1], to: directory.path + "/none/facts") }
    }
}
