internal import Glibc
internal import Ring

/// The layout of a device's directory, and `device.json`, which says whose it is.
struct DeviceDirectory {
    static let formatVersion = 1
    private static let identityLimit = 64 << 10

    let path: String
    let fileSystem: any FileSystem

    var log: String { "\(path)/log" }
    var blobs: String { "\(path)/blobs" }
    var index: String { "\(path)/index" }
    private var identityPath: String { "\(path)/device.json" }

    /// Creates what is missing and takes the lock, which lasts as long as the returned file.
    func prepare() throws(DeviceLogError) -> any File {
        do {
            for directory in [path, log, blobs, index] { try fileSystem.createDirectory(directory) }
            try fileSystem.syncDirectory(path)
        } catch {
            throw DeviceLogError(error)
        }
        do {
            return try fileSystem.lock("\(path)/lock")
        } catch {
            throw error.errno == EWOULDBLOCK ? .inUse : DeviceLogError(error)
        }
    }

    /// Whether the directory was never a device's.
    func isNew() throws(DeviceLogError) -> Bool {
        do {
            return try (fileSystem.readFile(identityPath, limit: Self.identityLimit) ?? []).isEmpty
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// Refuses a device of a format that this program does not know, before anything else of it is read.
    func checkFormat() throws(DeviceLogError) {
        guard let format = try identity()?["format"]?.integer, format != Self.formatVersion else { return }
        throw .otherFormat(identityPath, format, known: Self.formatVersion)
    }

    /// What `device.json` says; nil when it is not there, or no JSON.
    private func identity() throws(DeviceLogError) -> JSONValue? {
        do {
            return try fileSystem.readFile(identityPath, limit: Self.identityLimit).flatMap {
                try? JSONValue(parsing: $0)
            }
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// Compares `device.json` with who is asking; writes it on a directory that has none.
    func check(_ identity: DeviceIdentity) throws(DeviceLogError) {
        let expected = Self.encode(identity)
        do throws(FileError) {
            if let found = try fileSystem.readFile(identityPath, limit: Self.identityLimit), !found.isEmpty {
                if found == expected { return }
                throw FileError(errno: EXDEV)
            }
            let hasLog = try !fileSystem.list(log).isEmpty
            guard !hasLog else { throw FileError(errno: EXDEV) }
            try write(expected)
        } catch {
            guard error.errno == EXDEV else { throw DeviceLogError(error) }
            throw .refused(reason: "device.json in \(path) is of another cluster or device, damaged, or missing")
        }
    }

    private func write(_ bytes: [UInt8]) throws(FileError) {
        let temporary = identityPath + ".new"
        let file = try fileSystem.open(temporary, .create)
        try bytes.withBytes { (bytes) throws(FileError) in try file.write(bytes, at: 0) }
        try file.sync()
        try fileSystem.rename(temporary, to: identityPath)
        try fileSystem.syncDirectory(path)
    }

    /// Keys in this order, so that files can be compared as bytes.
    static func encode(_ identity: DeviceIdentity) -> [UInt8] {
        var escaped = ""
        for scalar in identity.clusterID.unicodeScalars {
            switch scalar {
            case "\"", "\\": escaped += "\\\(scalar)"
            case "\0"..." ":
                let digits = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        let text = #"{"format": \#(formatVersion), "cluster": "\#(escaped)", "device": \#(identity.deviceID)}"#
        return Array((text + "\n").utf8)
    }
}
