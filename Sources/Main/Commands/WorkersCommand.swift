import ArgumentParser
import Daemon
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
            """,
        subcommands: [List.self, PauseWorkers.self, ResumeWorkers.self, Pace.self], defaultSubcommand: List.self)

    struct Options: ParsableArguments {
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
            var workers: [WorkerReport] = []
            for request in requests {
                switch try client.ask(request, host: node.host, port: node.storagePort) {
                case .workers(let some): workers += some
                case .failed(let failure):
                    throw CommandError(failure.detail.isEmpty ? "\(failure.reason)" : failure.detail)
                default: throw CommandError("the store gave an answer that makes no sense")
                }
            }
            show(workers)
        }

        private func show(_ workers: [WorkerReport]) {
            if json {
                let value = JSONValue.object([JSONMember("workers", .array(workers.map(\.json)))])
                return print(String(decoding: value.encoded, as: UTF8.self))
            }
            print("WORKER        STATE    DONE                  RATE          PACE          LEFT     ERRORS  DOING")
            for worker in workers {
                let total = worker.total.map { " of \(worker.amount($0))" } ?? ""
                print(
                    worker.name.padded(13), worker.state.padded(8), (worker.amount(worker.done) + total).padded(21),
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

    fileprivate static func duration(_ seconds: Int64) -> String {
        switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) d"
        }
    }

    fileprivate var json: JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map { .integer(Int($0)) } ?? .null }
        return .object([
            JSONMember("name", .string(name)), JSONMember("state", .string(state)),
            JSONMember("activity", .string(activity)), JSONMember("unit", .string(unit)),
            JSONMember("done", number(done)), JSONMember("total", number(total)), JSONMember("rate", number(rate)),
            JSONMember("seconds_left", number(secondsLeft)), JSONMember("pace", number(pace)),
            JSONMember("errors", number(errors)), JSONMember("last_error", .string(lastError)),
            JSONMember("last_pass", number(lastPass)),
        ])
    }
}
