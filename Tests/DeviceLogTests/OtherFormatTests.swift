import NIOCore
import Ring
import Testing

@testable import DeviceLog

/// Devices that a program of another version wrote: what is not known is neither read nor touched.
struct OtherFormatTests {
    private let files = MemoryFileSystem()

    /// Leaves a device with an object in the log, and a flush of the index behind it.
    init() throws {
        let log = try open()
        log.put(1, at: 5)
        log.close()
    }

    private func open(_ identity: DeviceIdentity = testIdentity) throws -> DeviceLog {
        try DeviceLog.open(
            directory: "/device", identity: identity, fileSystem: files, configuration: .test, logger: quietLogger)
    }

    private func read(_ path: String) throws -> [UInt8] { try #require(try files.readFile(path, limit: 1 << 20)) }

    private func write(_ bytes: [UInt8], to path: String) throws {
        let file = try files.open(path, .readWrite)
        try bytes.withBytes { (bytes) throws(FileError) in try file.write(bytes, at: 0) }
    }

    /// Raises a number of 32 bits by one and sets the checksum of the bytes before `checksum` right.
    private func raise(at place: Int, checksum: Int, in path: String) throws {
        var bytes = try read(path)
        let end = checksum < 0 ? bytes.count + checksum : checksum
        bytes[place] += 1
        let sum = bytes.withUnsafeBytes { CRC32C.checksum($0.part(0, end)) }
        for byte in 0..<4 { bytes[end + byte] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * byte)) }
        try write(bytes, to: path)
    }

    private func refusal(_ identity: DeviceIdentity = testIdentity) throws -> String {
        do throws(DeviceLogError) {
            try DeviceLog.open(
                directory: "/device", identity: identity, fileSystem: files, configuration: .test, logger: quietLogger
            ).close()
        } catch {
            guard case .refused(let reason) = error else { throw error }
            return reason
        }
        Issue.record("it was opened")
        return ""
    }

    private func advice(_ path: String, _ found: Int, known: Int = 1, writer: String) -> String {
        "\(path) has format \(found), and this program knows \(known): \(writer) ringfort wrote it. Start that one, "
            + "or empty the device's directory, and the device is filled by the others"
    }

    @Test(arguments: [(2, "a newer"), (0, "an older")])
    func aDeviceOfAnotherFormat(_ format: Int, _ writer: String) throws {
        let text = "{\"format\": \(format), \"cluster\": \"test\", \"device\": 1}\n"
        try write(Array(text.utf8), to: "/device/device.json")
        #expect(try refusal() == advice("/device/device.json", format, writer: writer))
    }

    /// Before a file whose format follows from that of the device is called damaged.
    @Test func theFormatOfTheDeviceIsLookedAtFirst() throws {
        try write(Array("{\"format\": 2, \"cluster\": \"test\", \"device\": 1}\n".utf8), to: "/device/device.json")
        _ = try files.open("/device/behind", .create)
        try write([UInt8](repeating: 1, count: 20), to: "/device/behind")
        #expect(try refusal() == advice("/device/device.json", 2, writer: "a newer"))
    }

    @Test func aDeviceOfAnotherClusterIsNoMatterOfFormats() throws {
        let reason = try refusal(DeviceIdentity(clusterID: "other", deviceID: 1))
        #expect(reason == "device.json in /device is of another cluster or device, damaged, or missing")
    }

    @Test func aSegmentOfAnotherFormat() throws {
        let path = "/device/log/00000001.segment"
        let before = try read("/device/index/manifest")
        try raise(at: 4, checksum: 60, in: path)
        #expect(try refusal() == advice(path, 2, writer: "a newer"))
        // Nothing was taken for lost, and nothing rebuilt.
        #expect(try read("/device/index/manifest") == before)
    }

    @Test func anotherFormatOfTheFileBehind() throws {
        try DeviceLog.open(
            directory: "/device", identity: testIdentity, fileSystem: files, configuration: .test, logger: quietLogger
        ).closeBehindSomewhere()
        try raise(at: 4, checksum: -4, in: "/device/behind")
        #expect(try refusal() == advice("/device/behind", 2, writer: "a newer"))
        // A flipped bit is damage, and not another version.
        var bytes = try read("/device/behind")
        bytes[4] ^= 1
        try write(bytes, to: "/device/behind")
        #expect(try refusal().hasPrefix("/device/behind is damaged"))
    }

    /// The log has everything: an older program can take over.
    @Test func anIndexOfAnotherFormatIsRebuilt() throws {
        try raise(at: 8, checksum: -4, in: "/device/index/manifest")
        #expect(
            throws: DeviceLogError.refused(reason: advice("/device/index/manifest", 3, known: 2, writer: "a newer"))
        ) {
            try RunManifest.read("/device/index", files)
        }
        let log = try open()
        #expect(try log.text(1) == "body")
        log.close()
        #expect(try RunManifest.read("/device/index", files) != nil)
    }
}

extension DeviceLog {
    fileprivate func closeBehindSomewhere() throws {
        try place(.objects(0), partPower: 4, new: [3: 9], all: [3])
        try placed()
        close()
    }
}
