import Testing

@testable import DeviceLog

struct BlobFilesTests {
    /// What is left of an upload that a crash cut off is removed after the start: by then its number must not be another blob's.
    @Test func numbersOfLeftoversAreNotGivenAgain() throws {
        let fileSystem = MemoryFileSystem()
        let before = BlobFiles(directory: "/blobs", fileSystem: fileSystem, first: 7 << 32)
        let (used, _) = try before.create()
        let (left, _) = try before.create()
        let after = BlobFiles(directory: "/blobs", fileSystem: fileSystem, first: 7 << 32)
        #expect(try after.unused { (id) throws(DeviceLogError) in id == used } == [left])
        let (new, _) = try after.create()
        #expect(new > left)
        try after.remove(left)
        #expect(fileSystem.list("/blobs").count == 2)
        _ = try after.open(new)
    }
}
