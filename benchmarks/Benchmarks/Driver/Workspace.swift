import Glibc

/// A folder of this run on the disk that is measured.
struct Workspace: Sendable {
    let path: String

    init(under directory: String) throws(BenchmarkFailure) {
        var template = Array("\(directory)/ringfort-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw BenchmarkFailure("no folder can be made in \(directory): errno \(errno)")
        }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Makes an empty folder; one that is there is emptied.
    func makeDirectory(_ name: String) throws(BenchmarkFailure) -> String {
        let directory = "\(path)/\(name)"
        Self.remove(directory)
        guard mkdir(directory, 0o700) == 0 else { throw BenchmarkFailure("mkdir \(directory): errno \(errno)") }
        return directory
    }

    func remove() { Self.remove(path) }

    /// A folder with everything in it, or a file; nothing happens when it is not there.
    static func remove(_ path: String) {
        for name in entries(of: path) ?? [] { remove("\(path)/\(name)") }
        Glibc.remove(path)
    }

    /// The names in a folder, without `.` and `..`; nil when it is none. Symbolic links are not followed.
    static func entries(of path: String) -> [String]? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0, let stream = fdopendir(descriptor) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
