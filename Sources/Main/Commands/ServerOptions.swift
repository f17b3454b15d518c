import ArgumentParser
import NIOCore
import Daemon
import Logging
import StorageWire

/// Options of everything that listens.
struct ServerOptions: ParsableArguments {
    @Option(
        name: .customLong("listen"),
        help: ArgumentHelp("The address to listen on (127.0.0.1).", discussion: "0.0.0.0 lets other machines in."))
    var givenListen: String?

    /// The address to listen on.
    var listen: String { givenListen ?? Self.defaultListen }

    static let defaultListen = "127.0.0.1"

    @Flag(help: "Print the ready line as JSON.")
    var json = false

    @Option(help: "How much is logged to standard error: trace, debug, info, notice, warning, error, critical.")
    var logLevel: LogLevel = .notice

    @Option(help: "The form of log lines: logfmt or json.")
    var logFormat: LogFormat = .logfmt

    func makeLog() throws -> StructuredLog {
        try StructuredLog.standardError(format: logFormat, level: logLevel.level)
    }
}

/// The levels of a log, as they are typed.
enum LogLevel: String, CaseIterable, ExpressibleByArgument {
    case trace, debug, info, notice, warning, error, critical

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .notice }
}

extension LogFormat: ExpressibleByArgument {}

/// A port number, refused at the door when it is none.
func checkPort(_ port: Int, _ name: String) throws {
    guard (0...65_535).contains(port) else { throw ValidationError("\(name) is a number from 0 to 65535, not \(port)") }
}

/// Of processes without a cluster map, which can't be told while they run.
struct EncryptionOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Encrypt the links to and from other nodes, and turn away peers that don't.",
            discussion: """
                Without it, links are encrypted with nodes that want it. So processes can be restarted with it one by one.
                """))
    var encrypt = false

    var encryption: LinkEncryption { LinkEncryption(isOn: encrypt) }
}

/// What every process with devices takes.
struct ReplicationOptions: ParsableArguments {
    @Option(
        help: """
            Seconds between two comparisons of the devices here with their replicas, and between two looks for objects that \
            have expired or are in accounts that were deleted.
            """)
    var replicateEvery = 30.0

    @Option(
        help: """
            Seconds for which the mark of a deleted object is kept at least; then it goes when every replica has it and every \
            device of the ring answers.
            """)
    var reclaimAfter = 3600.0

    @Option(help: "Seconds for which the data of a deleted account is kept on the devices, for the case of a mistake.")
    var delayReaping: Int64 = 0

    /// 30 days.
    private static let longestDelay: Int64 = 2_592_000

    @Option(help: .hidden)
    var clockOffsetMs: Int64 = 0

    private static let longestClockOffset: Int64 = 86_400_000

    func validate() throws {
        guard (0.1...86_400).contains(replicateEvery) else {
            throw ValidationError("--replicate-every is a number of seconds from 0.1 to 86400")
        }
        guard (1...31_536_000).contains(reclaimAfter) else {
            throw ValidationError("--reclaim-after is a number of seconds from 1 to 31536000 (a year)")
        }
        guard (0...Self.longestDelay).contains(delayReaping) else {
            throw ValidationError("--delay-reaping is a number of seconds from 0 to \(Self.longestDelay)")
        }
        guard abs(clockOffsetMs) <= Self.longestClockOffset else {
            throw ValidationError("--clock-offset-ms is a day at most")
        }
        WallClock.shiftSystem(milliseconds: clockOffsetMs)
    }

    var times: ReplicationTimes {
        ReplicationTimes(
            interval: .milliseconds(Int64(replicateEvery * 1000)),
            reclaimAfter: .milliseconds(Int64(reclaimAfter * 1000)), delayReaping: delayReaping)
    }
}
