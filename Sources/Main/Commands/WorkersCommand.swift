import ArgumentParser
import ClusterMap
import Daemon
import NIOCore
import Ring
import StorageWire

/// `ringfort workers`: what goes on in the background, and how fast it may.
struct WorkersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workers",
        abstract: "Show, hold and slow down the background workers of a running store.",
        discussion: """
            Each worker has a state (idle between two passes, running, paused), a progress, a rate over the last seconds,
            and a pace: the units per second that it may do at most, 0 for no limit. What you change is kept over restarts.
            A change also begins the next pass of a worker that is idle.

            Examples:
              ringfort workers --data ./data
              ringfort workers pause auditor --data ./data
              ringfort workers resume auditor --data ./data
              ringfort workers pace auditor 100000000 --data ./data
              ringfort workers pause auditor --data ./data --all
            """,
        subcommands: [List.self, PauseWorkers.self, ResumeWorkers.self, Pace.self], defaultSubcommand: List.self)

    /// Where a store is, and the form of the answer.
    struct StoreOptions: ParsableArguments {
        @Option(help: "The data directory of the store.")
        var data: String

        @Flag(help: "Answer as JSON.")
        var json = false

        /// Asks the process that runs on the directory, one question after the other.
        func ask(_ requests: [StorageRequest]) throws {
            let directory = ClusterDirectory(data)
            let identity = try directory.open()
            let node = try NodeFile.read(from: directory)
            let client = try NodeClient(identity: identity)
            defer { client.close() }
            let answers = try requests.map {
                try WorkersCommand.reports(in: try client.ask($0, host: node.host, port: node.storagePort))
            }
            WorkersCommand.show([(nil, answers.flatMap { $0 })], json: json)
        }

        /// Asks several nodes of the cluster at once.
        ///
        /// - Parameter names: of nodes; all of them when there is none.
        /// - Throws: `CommandError` with the nodes that did not do it, after those that did are shown.
        func askNodes(_ requests: [StorageRequest], named names: [String]) throws {
            let directory = ClusterDirectory(data)
            let identity = try directory.open()
            let client = ClusterClient(
                client: try NodeClient(identity: identity), node: try NodeFile.read(from: directory))
            defer { client.client.close() }
            let map = try client.map()
            if let name = names.first(where: { name in !map.nodes.contains { $0.name == name } }) {
                throw CommandError(
                    "there is no node \(name); there are \(map.nodes.map(\.name).joined(separator: ", "))")
            }
            let asked = map.nodes.filter { names.isEmpty || names.contains($0.name) }.map { node in
                (node, requests.map { client.client.begin($0, host: node.host, port: node.storagePort) })
            }
            var found: [(node: String?, workers: [WorkerReport])] = []
            var failures: [String] = []
            for (node, replies) in asked {
                do {
                    let workers = try replies.flatMap { try WorkersCommand.reports(in: try $0.wait()) }
                    found.append((node.name, workers))
                } catch { failures.append("\(node.name): \(error)") }
            }
            WorkersCommand.show(found, json: json)
            guard failures.isEmpty else {
                throw CommandError("not done on \(failures.joined(separator: "; "))")
            }
        }
    }

    struct Options: ParsableArguments {
        @OptionGroup var store: StoreOptions

        @Flag(help: "Of all nodes of the cluster.")
        var all = false

        @Option(help: "Of this node of the cluster; may be given more than once.")
        var node: [String] = []

        func validate() throws {
            guard !all || node.isEmpty else { throw ValidationError("--all and --node don't go together") }
        }

        func ask(_ requests: [StorageRequest]) throws {
            if all || !node.isEmpty { try store.askNodes(requests, named: node) } else { try store.ask(requests) }
        }
    }

    private static func reports(in reply: StorageReply) throws -> [WorkerReport] {
        switch reply {
        case .workers(let workers): return workers
        case .failed(let failure):
            throw CommandError(failure.detail.isEmpty ? "\(failure.reason)" : failure.detail)
        default: throw CommandError("the store gave an answer that makes no sense")
        }
    }

    /// - Parameter found: workers with the node that they are of, nil when there is only one.
    private static func show(_ found: [(node: String?, workers: [WorkerReport])], json: Bool) {
        if json {
            let workers = found.flatMap { node, workers in workers.map { $0.json(of: node) } }
            let value = JSONValue.object([JSONMember("workers", .array(workers))])
            return print(String(decoding: value.encoded, as: UTF8.self))
        }
        print("WORKER            STATE    DONE                  RATE          PACE          LEFT     ERRORS  DOING")
        for (node, workers) in found {
            if let node { print("\(node):") }
            for worker in workers {
                let total = worker.total.map { " of \(worker.amount($0))" } ?? ""
                print(
                    worker.name.padded(17), worker.state.padded(8), (worker.amount(worker.done) + total).padded(21),
                    "\(worker.amount(worker.rate))/s".padded(13),
                    (worker.pace == 0 ? "no limit" : "\(worker.amount(worker.pace))/s").padded(13),
                    (worker.secondsLeft.map(WorkerReport.duration) ?? "-").padded(8), "\(worker.errors)".padded(7),
                    worker.errors > 0 && worker.activity.isEmpty ? worker.lastError : worker.activity)
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the background workers.",
            discussion: "Example: ringfort workers list --data ./data --json (the same as JSON, for scripts)")
        @OptionGroup var options: Options

        func run() throws { try options.ask([.workers]) }
    }

    struct PauseWorkers: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pause", abstract: "Hold workers until they are resumed, also over restarts.",
            discussion: """
                A worker stops where it is within a second and goes on from there.

                Example: ringfort workers pause auditor --data ./data
                """)
        @Argument(help: "The names of workers.") var names: [String]
        @OptionGroup var options: Options

        func run() throws { try options.ask(names.map { .setWorker(SetWorker(name: $0, change: .pause)) }) }
    }

    struct ResumeWorkers: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume", abstract: "Let workers go on; one that is idle begins its next pass.",
            discussion: "Example: ringfort workers resume auditor --data ./data")
        @Argument(help: "The names of workers.") var names: [String]
        @OptionGroup var options: Options

        func run() throws { try options.ask(names.map { .setWorker(SetWorker(name: $0, change: .resume)) }) }
    }

    struct Pace: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set how fast a worker may be.",
            discussion: """
                The unit is the worker's: bytes for the auditor. 0 is no limit. A worker that is idle begins its next pass.

                Examples:
                  ringfort workers pace auditor 33554432 --data ./data
                  ringfort workers pace auditor 0 --data ./data
                """)
        @Argument(help: "The name of a worker.") var name: String
        @Argument(help: "Units per second, 0 for no limit.") var pace: Int64
        @OptionGroup var options: Options

        func validate() throws {
            guard pace >= 0 else { throw ValidationError("a pace is a number of units per second, or 0 for no limit") }
        }

        func run() throws { try options.ask([.setWorker(SetWorker(name: name, change: .pace(pace)))]) }
    }
}

extension WorkerReport {
    var secondsLeft: Int64? {
        guard state == WorkerState.running.rawValue, let total, rate > 0 else { return nil }
        return max(0, total - done) / rate
    }

    fileprivate func amount(_ value: Int64) -> String {
        unit == WorkerUnit.bytes.rawValue ? StatusCommand.size(value) : "\(value)"
    }

    static func duration(_ seconds: Int64) -> String {
        switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) d"
        }
    }

    fileprivate func json(of node: String?) -> JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map { .integer(Int($0)) } ?? .null }
        return .object(
            (node.map { [JSONMember("node", .string($0))] } ?? []) + [
                JSONMember("name", .string(name)), JSONMember("state", .string(state)),
                JSONMember("activity", .string(activity)), JSONMember("unit", .string(unit)),
                JSONMember("done", number(done)), JSONMember("total", number(total)), JSONMember("rate", number(rate)),
                JSONMember("seconds_left", number(secondsLeft)), JSONMember("pace", number(pace)),
                JSONMember("errors", number(errors)), JSONMember("last_error", .string(lastError)),
                JSONMember("last_pass", number(lastPass)),
            ])
    }
}
