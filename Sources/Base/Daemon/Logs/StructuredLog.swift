package import Logging

/// The log of the process: one line per event, a constant message and its variables as fields.
///
///     let log = StructuredLog(format: .logfmt, level: .info, writer: writer)
///     let logger = Logger(label: "proxy", factory: log.handler)
///     logger.info("request failed", metadata: [StructuredLog.transactionKey: "tx1234", "status": "503"])
package struct StructuredLog: Sendable {
    /// The field that joins the lines of one request across processes.
    package static let transactionKey = "trans_id"

    private let format: LogFormat
    private let level: Logger.Level
    private let clock: WallClock
    private let writer: LogWriter

    package init(format: LogFormat, level: Logger.Level, clock: WallClock = .system, writer: LogWriter) {
        self.format = format
        self.level = level
        self.clock = clock
        self.writer = writer
    }

    /// A log on the standard error stream with a writer of its own.
    package static func standardError(
        format: LogFormat, level: Logger.Level, clock: WallClock = .system
    ) throws(FileError) -> StructuredLog {
        let writer = try LogWriter { dropped in
            var line = LogLine(
                format: format, ticks: clock.ticks, level: .warning, label: "log", message: "log lines dropped")
            line.append("count", String(dropped))
            return line.finish()
        }
        return StructuredLog(format: format, level: level, clock: clock, writer: writer)
    }

    /// For `LoggingSystem.bootstrap` and `Logger(label:factory:)`.
    package func handler(label: String) -> any LogHandler { Handler(log: self, label: label, logLevel: level) }

    /// Waits for the lines so far; the last thing a process does.
    package func drain(milliseconds: Int = 1000) { writer.drain(milliseconds: milliseconds) }

    /// Lines that were dropped because nobody read the log, for metrics.
    package var dropped: UInt64 { writer.dropped }

    private struct Handler: LogHandler {
        let log: StructuredLog
        let label: String
        var logLevel: Logger.Level
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider?

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            var line = LogLine(
                format: log.format, ticks: log.clock.ticks, level: event.level, label: label,
                message: event.message.description)
            var fields = metadata
            if let provided = metadataProvider?.get() { fields.merge(provided) { $1 } }
            if let own = event.metadata { fields.merge(own) { $1 } }
            if let transaction = fields.removeValue(forKey: transactionKey) { line.append(transactionKey, transaction) }
            for (key, value) in fields.sorted(by: { $0.key < $1.key }) { line.append(key, value) }
            if let error = event.error { line.append("error", String(describing: error)) }
            log.writer.append(line.finish())
        }
    }
}
