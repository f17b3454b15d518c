import ArgumentParser
import Glibc
import Ring

/// Reads and writes the files of the ring commands.
enum RingFileAccess {
    static func read(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure(path) }
        defer { close(file) }
        var bytes = [UInt8]()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= RingFile.Limit.fileBytes else { throw RingFailure("\(path): too large for a ring") }
        }
    }

    /// Replaces a file so that a reader, or a restart after a power cut, finds the old one or the new one.
    static func write(_ bytes: [UInt8], to path: String, replacing: Bool = true) throws {
        let temporary = "\(path).\(getpid()).tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw failure(temporary) }
        do {
            defer { close(file) }
            try writeAll(bytes, to: file, temporary)
            guard fsync(file) == 0 else { throw failure(temporary) }
        } catch {
            unlink(temporary)
            throw error
        }
        // link(2) fails where rename(2) would replace.
        let placed = replacing ? rename(temporary, path) : link(temporary, path)
        let problem = placed == 0 ? nil : failure(path)
        if !replacing || problem != nil { unlink(temporary) }
        if let problem { throw problem }
        try syncFolder(of: path)
    }

    private static func writeAll(_ bytes: [UInt8], to file: Int32, _ path: String) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + written, $0.count - written) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(path) }
            written += count
        }
    }

    private static func syncFolder(of path: String) throws {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(folder) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(folder) }
    }

    private static func failure(_ path: String) -> RingFailure {
        RingFailure("\(path): \(String(cString: strerror(errno)))")
    }
}

extension RingBuilderOptions {
    func load() throws -> RingBuilder {
        let bytes = try RingFileAccess.read(file)
        do { return try BuilderFile.decode(bytes) } catch { throw RingFailure("\(file): \(error)") }
    }

    func save(_ builder: RingBuilder) throws {
        try RingFileAccess.write(BuilderFile.encode(builder), to: file)
    }

    /// The ring file that belongs to the builder file: `object.ring.gz` for `object.builder`.
    var ringFile: String {
        (file.hasSuffix(".builder") ? String(file.dropLast(".builder".count)) : file) + ".ring.gz"
    }

    /// Changes the builder and saves it; what it refuses is the user's mistake.
    func change<Result>(_ body: (inout RingBuilder) throws -> Result) throws -> Result {
        var builder = try load()
        let result: Result
        do { result = try body(&builder) } catch let error as RingBuilderError { throw RingFailure("\(error)") }
        try save(builder)
        return result
    }

    func report(_ members: [(String, JSONValue)], text: @autoclosure () -> String) {
        print(json ? JSONValue.object(members.map { JSONMember($0.0, $0.1) }).text : text())
    }
}

/// A command that could not be done, and why.
struct RingFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A number with two digits after the point.
func twoDigits(_ value: Double) -> String {
    let hundredths = Int((abs(value) * 100).rounded())
    let fraction = hundredths % 100
    return "\(value < 0 && hundredths > 0 ? "-" : "")\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
}
