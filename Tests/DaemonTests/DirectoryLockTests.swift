import Daemon
import Glibc
import Testing

struct DirectoryLockTests {
    let directory = TemporaryDirectory()

    @Test func secondHolderLearnsWhoTheFirstIs() throws {
        let lock = try DirectoryLock(directory: directory.path)
        let refusal = #expect(throws: DirectoryLock.Failure.self) { try DirectoryLock(directory: directory.path) }
        #expect(refusal == .held(directory: directory.path, process: getpid()))
        #expect(refusal?.description == "\(directory.path) is in use by process \(getpid())")
        #expect(DirectoryLock.holder(of: directory.path) == getpid())
        withExtendedLifetime(lock) {}
    }

    @Test func lockEndsWithItsHolder() throws {
        do { _ = try DirectoryLock(directory: directory.path) }
        #expect(DirectoryLock.holder(of: directory.path) == nil)
        _ = try DirectoryLock(directory: directory.path)
    }

    @Test func idOfALongerProcessNumberIsReplaced() throws {
        try AtomicFile.write(Array("123456789\n".utf8), to: "\(directory.path)/\(DirectoryLock.fileName)")
        let lock = try DirectoryLock(directory: directory.path)
        #expect(DirectoryLock.holder(of: directory.path) == getpid())
        withExtendedLifetime(lock) {}
    }

    @Test func directoryThatIsNotThereIsAnError() {
        let absent = directory.path + "/none"
        let refusal = #expect(throws: DirectoryLock.Failure.self) { try DirectoryLock(directory: absent) }
        guard case .file(let error) = refusal else {
            Issue.record("unexpected: \(String(describing: refusal))")
            return
        }
        #expect(error.code == ENOENT)
        #expect(DirectoryLock.holder(of: absent) == nil)
    }
}
