import Daemon
import Ring

/// What operators changed about the background workers: `DIR/workers.json`.
struct WorkerSettingsFile {
    private static let maximumFile = 1 << 16

    private let path: String

    init(_ directory: ClusterDirectory) { path = directory.file("workers.json") }

    /// The workers of a process, which has none yet, and their settings of the last time.
    func registry() throws -> WorkerRegistry {
        WorkerRegistry(settings: try read()) { try write($0) }
    }

    private func read() throws -> [String: WorkerSettings] {
        guard let bytes = try AtomicFile.read(path, limit: Self.maximumFile) else { return [:] }
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch { throw CommandError("\(path): \(error)") }
        guard json["version"]?.integer == 1, let list = json["workers"]?.array else {
            throw CommandError(
                "\(path) is not a file of worker settings of this version; without it they have their defaults")
        }
        var settings: [String: WorkerSettings] = [:]
        for worker in list {
            guard let name = worker["name"]?.string, let pace = worker["pace"]?.integer, pace >= 0,
                case .bool(let isPaused)? = worker["paused"]
            else {
                throw CommandError("\(path) has an entry that is no worker; without the file they have their defaults")
            }
            settings[name] = WorkerSettings(isPaused: isPaused, pace: Int64(pace))
        }
        return settings
    }

    private func write(_ settings: [String: WorkerSettings]) throws {
        let workers = settings.sorted { $0.key < $1.key }.map { name, settings in
            JSONValue.object([
                JSONMember("name", .string(name)), JSONMember("paused", .bool(settings.isPaused)),
                JSONMember("pace", .integer(Int(settings.pace))),
            ])
        }
        let json = JSONValue.object([JSONMember("version", .integer(1)), JSONMember("workers", .array(workers))])
        try AtomicFile.write(json.encoded, to: path)
    }
}

extension WorkerSettingsFile: Sendable {}
