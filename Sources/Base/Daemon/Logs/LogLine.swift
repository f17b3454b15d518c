import Logging

/// How a line looks.
package enum LogFormat: String, CaseIterable, Sendable {
    /// `ts=... level=info logger=proxy msg="..." key=value`
    case logfmt
    /// `{"ts":"...","level":"info","logger":"proxy","msg":"...","key":"value"}`
    case json
}

/// One event as the bytes of one line, its newline included.
struct LogLine {
    /// Bytes of one value; what is longer is cut, with `...` at its end.
    static let valueLimit = 4096
    /// Levels of dictionaries and arrays in one value.
    static let depthLimit = 4

    private let format: LogFormat
    private(set) var bytes: [UInt8] = []

    init(format: LogFormat, ticks: UInt64, level: Logger.Level, label: String, message: String) {
        self.format = format
        bytes.reserveCapacity(256)
        if format == .json { bytes.append(UInt8(ascii: "{")) }
        append("ts", Self.time(ticks))
        append("level", level.rawValue)
        append("logger", label)
        append("msg", message)
    }

    mutating func append(_ key: String, _ value: String) {
        startField(key)
        appendValue(value)
    }

    mutating func append(_ key: String, _ value: Logger.MetadataValue) {
        if Redaction.isSecret(key: key) { return append(key, Redaction.mask) }
        startField(key)
        switch format {
        case .json: appendJSON(value, depth: 0)
        case .logfmt: appendValue(value.description)
        }
    }

    mutating func finish() -> [UInt8] {
        if format == .json { bytes.append(UInt8(ascii: "}")) }
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    private mutating func startField(_ key: String) {
        switch format {
        case .json:
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            appendQuoted(key)
            bytes.append(UInt8(ascii: ":"))
        case .logfmt:
            if !bytes.isEmpty { bytes.append(UInt8(ascii: " ")) }
            // A key with spaces or quotes would read as two fields.
            bytes += key.utf8.map { Self.isPlain($0) ? $0 : UInt8(ascii: "_") }
            bytes.append(UInt8(ascii: "="))
        }
    }

    private mutating func appendValue(_ value: String) {
        let isPlain =
            format == .logfmt && !value.isEmpty && value.utf8.count <= Self.valueLimit
            && value.utf8.allSatisfy(Self.isPlain)
        if isPlain { bytes += value.utf8 } else { appendQuoted(value) }
    }

    /// Whether a byte can stand in a logfmt field without quotes.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...0x20, 0x7F, UInt8(ascii: "\""), UInt8(ascii: "="), UInt8(ascii: "\\"): false
        default: true
        }
    }

    private mutating func appendJSON(_ value: Logger.MetadataValue, depth: Int) {
        switch value {
        case .array(let items) where depth < Self.depthLimit:
            bytes.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                appendJSON(item, depth: depth + 1)
            }
            bytes.append(UInt8(ascii: "]"))
        case .dictionary(let items) where depth < Self.depthLimit:
            bytes.append(UInt8(ascii: "{"))
            for (index, item) in items.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                appendQuoted(item.key)
                bytes.append(UInt8(ascii: ":"))
                let isSecret = Redaction.isSecret(key: item.key)
                appendJSON(isSecret ? .string(Redaction.mask) : item.value, depth: depth + 1)
            }
            bytes.append(UInt8(ascii: "}"))
        default:
            appendQuoted(value.description)
        }
    }

    /// A JSON string (RFC 8259 7), which logfmt readers take too.
    private mutating func appendQuoted(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        var budget = Self.valueLimit
        for scalar in text.unicodeScalars {
            budget -= UTF8.width(scalar)
            if budget < 0 {
                bytes += "...".utf8
                break
            }
            switch scalar {
            case "\"": bytes += "\\\"".utf8
            case "\\": bytes += "\\\\".utf8
            case "\n": bytes += "\\n".utf8
            case "\r": bytes += "\\r".utf8
            case "\t": bytes += "\\t".utf8
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
                let hex = String(scalar.value, radix: 16)
                bytes += "\\u\(String(repeating: "0", count: 4 - hex.count))\(hex)".utf8
            default: bytes += String(scalar).utf8
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// RFC 3339 in UTC with the clock's five decimals.
    static func time(_ ticks: UInt64) -> String {
        let seconds = Int64(ticks / WallClock.ticksPerSecond)
        let (year, month, day) = civil(day: seconds / 86_400)
        let second = seconds % 86_400
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(padded(second / 3600, 2))"
            + ":\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
            + ".\(padded(Int64(ticks % WallClock.ticksPerSecond), 5))Z"
    }

    /// Days since 1970 as a date of the Gregorian calendar, counted in eras of 400 years that begin on the first of March.
    private static func civil(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }
}
