import Glibc
import Logging
import Testing

@testable import Daemon

struct StructuredLogTests {
    /// A pipe whose other end is read when the test asks.
    final class Pipe {
        let ends: [Int32]

        init() {
            var ends: [Int32] = [0, 0]
            Glibc.pipe(&ends)
            _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
            self.ends = ends
        }

        deinit { ends.forEach { close($0) } }

        func read() -> String {
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = Glibc.read(ends[0], &bytes, bytes.count)
            return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
        }
    }

    let pipe = Pipe()

    func logger(_ format: LogFormat, level: Logger.Level = .info) throws -> (Logger, LogWriter) {
        let writer = try LogWriter(descriptor: pipe.ends[1]) { Array("dropped \($0)\n".utf8) }
        // 2026-11-22T17:22:59.12345Z
        let log = StructuredLog(format: format, level: level, clock: WallClock { 179_536_817_912_345 }, writer: writer)
        return (Logger(label: "proxy", factory: log.handler), writer)
    }

    @Test func logfmtLine() throws {
        let (logger, writer) = try logger(.logfmt)
        logger.info(
            "request failed",
            metadata: ["zone": "1", "trans_id": "tx1", "path": "a \"b\"\n=c", "empty": "", "X-Auth-Token": "AUTH_tk12"])
        #expect(writer.drain(milliseconds: 5000))
        #expect(
            pipe.read()
                == "ts=2026-11-22T17:22:59.12345Z level=info logger=proxy msg=\"request failed\" trans_id=tx1 "
                + "X-Auth-Token=*** empty=\"\" path=\"a \\\"b\\\"\\n=c\" zone=1\n")
    }

    @Test func jsonLine() throws {
        var (logger, writer) = try logger(.json)
        logger[metadataKey: "trans_id"] = "tx2"
        logger.warning(
            "odd \u{1} \u{7f} é", metadata: ["list": ["a", ["b": "c", "password": "p"]], "number": "\(7)"])
        #expect(writer.drain(milliseconds: 5000))
        #expect(
            pipe.read()
                == #"{"ts":"2026-11-22T17:22:59.12345Z","level":"warning","logger":"proxy","msg":"odd \u0001 \u007f é","#
                + #""trans_id":"tx2","list":["a",{"b":"c","password":"***"}],"number":"7"}"# + "\n")
    }

    @Test func levelIsRespected() throws {
        let (logger, writer) = try logger(.logfmt, level: .warning)
        logger.info("no")
        logger.error("yes")
        #expect(writer.drain(milliseconds: 5000))
        let text = pipe.read()
        #expect(!text.contains("msg=no") && text.contains("msg=yes"))
    }

    @Test func longValuesAndDeepNestingAreCut() throws {
        let (logger, writer) = try logger(.json)
        var nested: Logger.MetadataValue = "leaf"
        for _ in 0..<50 { nested = .array([nested]) }
        logger.info("m", metadata: ["long": "\(String(repeating: "x", count: 1 << 16))", "deep": nested])
        #expect(writer.drain(milliseconds: 5000))
        let line = pipe.read()
        #expect(line.utf8.count < 3 * LogLine.valueLimit)
        #expect(line.contains("xxx...\""))
    }

    @Test func aReaderThatSleepsCostsLinesNotTime() throws {
        let writer = try LogWriter(descriptor: pipe.ends[1], limit: 10_000) { Array("dropped \($0)\n".utf8) }
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: 99) + [UInt8(ascii: "\n")]
        var appended = 0
        repeat {
            writer.append(line)
            appended += 1
        } while writer.drain(milliseconds: 200)
        // Now the pipe is full, and the queue takes a hundred lines more.
        let start = MonotonicClock.system.nanoseconds
        for _ in 0..<5000 { writer.append(line) }
        #expect(MonotonicClock.system.nanoseconds - start < 5_000_000_000)
        let dropped = writer.dropped
        #expect(dropped > 4000)
        var text = ""
        while !writer.drain(milliseconds: 1) { text += pipe.read() }
        text += pipe.read()
        #expect(text.contains("dropped "))
        let lines = text.split(separator: "\n")
        let written = lines.count { $0.hasPrefix("xxx") }
        #expect(written + Int(dropped) == appended + 5000, "every line is written or counted")
    }

    @Test(arguments: [
        (UInt64(0), "1970-01-01T00:00:00.00000Z"), (95_163_839_999_999, "2000-02-27T07:59:59.99999Z"),
        (95_178_240_000_000, "2000-02-29T00:00:00.00000Z"), (410_244_480_000_001, "2100-01-01T00:00:00.00001Z"),
    ])
    func timesAreOfTheGregorianCalendar(ticks: UInt64, shown: String) {
        #expect(LogLine.time(ticks) == shown)
    }

    @Test func secretsAreKnownByTheirNames() {
        for key in ["token", "X-Auth-Token", "x-storage-pass", "admin_password", "temp_url_sig", "Authorization"] {
            #expect(Redaction.isSecret(key: key), "\(key)")
        }
        for key in ["key", "path", "tokens_checked", "status"] { #expect(!Redaction.isSecret(key: key), "\(key)") }
        #expect(Redaction.shortened("AUTH_tk0123456789abcdef0123") == "AUTH***")
        #expect(Redaction.shortened("short") == "***")
    }
}
