import ArgumentParser
import ClusterMap
import Daemon
import Glibc
import Ring
import StorageWire

/// `ringfort rebalance`: what moves between the devices, how long it takes, and how fast it may.
struct RebalanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebalance",
        abstract: "Show what moves between the devices, hold it, or slow it down.",
        discussion: """
            After a node or a device came, is drained or is removed, the replicators bring the data to where the new rings
            say. One replica of a partition moves at a time; when all data has followed, the cluster notices by itself and
            moves what had to rest, until nothing is left. Nothing is called settled while a node does not answer.

            Examples:
              ringfort rebalance status --data ./data --watch
              ringfort rebalance pause --data ./data
              ringfort rebalance resume --data ./data
              ringfort rebalance pace 200 --data ./data
            """,
        subcommands: [Status.self, Pause.self, Resume.self, Pace.self])

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is left to move for each device, and how long that takes.",
            discussion: """
                PARTITIONS are replicas that belong on the device, BEHIND those of them that it has not got wholly, OBJECTS
                (tombstones too) and TABLES (containers and accounts) those on it that belong elsewhere and are not known to
                be there. SIZE is read from the index, and is an estimate where many objects are over 256 KiB. RATE is that
                of the device's node. Objects and tables are counted per copy.

                With --watch the figures come every second until all is settled; the exit code is 0 then.

                Examples:
                  ringfort rebalance status --data ./data
                  ringfort rebalance status --data ./data --watch --timeout 3600 --json
                """)
        @OptionGroup var options: RunningStoreOptions
        @Flag(help: "Again every second, until all is settled; with --json one line each time.") var watch = false
        @Option(help: "With --watch: give up after so many seconds, with exit code 1.") var timeout: Double?

        func validate() throws {
            if let timeout {
                guard watch else { throw ValidationError("--timeout is for --watch") }
                guard timeout > 0 else { throw ValidationError("--timeout is a number of seconds above 0") }
            }
        }

        func run() throws {
            try options.ask { client in
                let report = try report(client)
                guard watch else {
                    if options.json { print(report.json.text) } else { report.show() }
                    return
                }
                try follow(report, client)
            }
        }

        private func follow(_ first: RebalanceReport, _ client: ClusterClient) throws {
            let began = MonotonicClock.system.nanoseconds
            let isTerminal = isatty(STDOUT_FILENO) == 1
            var report = first
            while true {
                if options.json {
                    print(String(decoding: report.json.encoded, as: UTF8.self))
                } else if isTerminal {
                    print("\u{1B}[H\u{1B}[2J", terminator: "")
                    report.show()
                } else {
                    print(report.summary)
                }
                Terminal.flush()
                if report.settling.isDone { return }
                if let timeout, Double(MonotonicClock.system.nanoseconds - began) / 1e9 >= timeout {
                    throw CommandError(
                        "not settled after \(timeout) seconds: " + report.settling.obstacles.joined(separator: "; "))
                }
                sleep(1)
                report = try self.report(client)
            }
        }

        private func report(_ client: ClusterClient) throws -> RebalanceReport {
            let map = try client.map()
            return RebalanceReport(map, statuses: try client.statuses(map), workers: try client.workers(map))
        }
    }

    struct Pause: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hold the replicators of all nodes until they are resumed, also over restarts.",
            discussion: """
                Nothing is repaired or moved meanwhile, and nothing counts as settled. Writes and reads go on.

                Example: ringfort rebalance pause --data ./data
                """)
        @OptionGroup var options: WorkersCommand.StoreOptions

        func run() throws { try RebalanceCommand.change(.pause, options) }
    }

    struct Resume: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the replicators of all nodes go on.",
            discussion: "Example: ringfort rebalance resume --data ./data")
        @OptionGroup var options: WorkersCommand.StoreOptions

        func run() throws { try RebalanceCommand.change(.resume, options) }
    }

    struct Pace: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set how fast the replicators of each node may be.",
            discussion: """
                UNITS are objects (and, of the other replicator, tables) per second and node; 0 is no limit.

                Example: ringfort rebalance pace 200 --data ./data
                """)
        @OptionGroup var options: WorkersCommand.StoreOptions
        @Argument(help: "Objects per second and node, 0 for no limit.") var units: Int64

        func validate() throws {
            guard units >= 0 else { throw ValidationError("a pace is a number of units per second, or 0 for no limit") }
        }

        func run() throws { try RebalanceCommand.change(.pace(units), options) }
    }

    private static func change(_ change: SetWorker.Change, _ options: WorkersCommand.StoreOptions) throws {
        try options.askNodes(
            RebalanceReport.workers.map { .setWorker(SetWorker(name: $0, change: change)) }, named: [])
    }
}
