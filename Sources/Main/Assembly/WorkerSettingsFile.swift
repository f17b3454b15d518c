import Daemon
import Ring

/// What operators changed about the background workers: `DIR/workers.json`.
struct WorkerSettingsFile {
    private static let maximumFile = 1 << 16
    private static let version = 1

    private let path: String

    init(_ directory: ClusterDirectory) { path = directory.file("workers.json") }

    /// The workers of a process, which has none yet, and their settings of the last time.
    func registry() throws -> WorkerRegistry {
        WorkerRegistry(settings: try read()) { try write($0) }
    }

    private func read() throws -> [String: KeptWorkerSettings] {
        guard let bytes = try AtomicFile.read(path, limit: Self.maximumFile) else { return [:] }
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch { throw CommandError("\(path): \(error)") }
        try json.requireVersion(Self.version, of: path)
        guard let list = json["workers"]?.array else {
            throw CommandError("\(path) is no file of worker settings; without it they have their defaults")
        }
        var settings: [String: KeptWorkerSettings] = [:]
        for worker in list {
            let pace = worker["pace"]?.integer
            guard let name = worker["name"]?.string, pace ?? 0 >= 0, pace != nil || worker["pace"] == nil,
                case .bool(let isPaused)? = worker["paused"]
            else {
                throw CommandError("\(path) has an entry that is no worker; without the file they have their defaults")
            }
            settings[name] = KeptWorkerSettings(isPaused: isPaused, pace: pace.map { Int64($0) })
        }
        return settings
    }

    private func write(_ settings: [String: KeptWorkerSettings]) throws {
        let workers = settings.sorted { $0.key < $1.key }.map { name, settings -> JSONValue in
            var members = [JSONMember("name", .string(name)), JSONMember("paused", .bool(settings.isPaused))]
            if let pace = settings.pace { members.append(JSONMember("pace", .integer(Int(pace)))) }
            return JSONValue.object(members)
        }
        let json = JSONValue.object([
            JSONMember("version", .integer(Self.version)), JSONMember("workers", .array(workers)),
        ])
        try AtomicFile.write(json.encoded, to: path)
    }
}

extension WorkerSettingsFile: Sendable {}
