import Glibc

/// What this process takes from the machine at one moment.
package struct ProcessUsage: Equatable, Sendable {
    /// Bytes in memory, file pages included.
    package var residentBytes: UInt64 = 0
    /// Bytes in memory that belong to this process alone and cannot be dropped: heap and stacks.
    package var anonymousBytes: UInt64 = 0
    /// The most bytes ever in memory.
    package var peakResidentBytes: UInt64 = 0
    package var threads: UInt64 = 0
    package var openDescriptors: UInt64 = 0
    /// User and system time of all threads, in nanoseconds.
    package var cpuNanoseconds: UInt64 = 0

    /// Looks at `/proc`; a figure that cannot be read is 0.
    package static func sample(directory: String = "/proc/self") -> ProcessUsage {
        let status = (try? AtomicFile.read("\(directory)/status", limit: 64 << 10)) ?? nil
        var usage = ProcessUsage(status: status ?? [])
        usage.openDescriptors = countEntries("\(directory)/fd")
        let cpu = clockTime(CLOCK_PROCESS_CPUTIME_ID)
        usage.cpuNanoseconds = UInt64(cpu.tv_sec) * 1_000_000_000 + UInt64(cpu.tv_nsec)
        return usage
    }

    init() {}

    /// Reads the fields of `/proc/PID/status` (proc(5)).
    init(status: [UInt8]) {
        for line in status.split(separator: UInt8(ascii: "\n")) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let number = Self.firstNumber(line[(colon + 1)...])
            switch String(decoding: line[..<colon], as: UTF8.self) {
            case "VmRSS": residentBytes = number << 10
            case "VmHWM": peakResidentBytes = number << 10
            case "RssAnon": anonymousBytes = number << 10
            case "Threads": threads = number
            default: continue
            }
        }
    }

    private static func firstNumber(_ text: ArraySlice<UInt8>) -> UInt64 {
        let digits = text.drop { !(48...57).contains($0) }.prefix { (48...57).contains($0) }
        return UInt64(String(decoding: digits, as: UTF8.self)) ?? 0
    }

    private static func countEntries(_ path: String) -> UInt64 {
        guard let directory = opendir(path) else { return 0 }
        defer { closedir(directory) }
        var count: UInt64 = 0
        while let entry = readdir(directory) {
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        // The descriptor that this function itself holds is not the process's.
        return count > 0 ? count - 1 : 0
    }
}

extension ProcessUsage {
    /// Adds the `process_*` series that Prometheus client libraries agree on.
    package static func register(on registry: MetricsRegistry) throws(MetricsError) {
        typealias Series = (name: String, help: String, read: @Sendable (ProcessUsage) -> Double)
        let gauges: [Series] = [
            ("process_resident_memory_bytes", "Bytes in memory.", { Double($0.residentBytes) }),
            ("process_anonymous_memory_bytes", "Bytes of heap and stacks in memory.", { Double($0.anonymousBytes) }),
            ("process_open_fds", "Open file descriptors.", { Double($0.openDescriptors) }),
            ("process_threads", "Threads.", { Double($0.threads) }),
        ]
        for gauge in gauges {
            try registry.gauge(gauge.name, gauge.help) { gauge.read(sample()) }
        }
        try registry.counter("process_cpu_seconds_total", "User and system time.") {
            Double(sample().cpuNanoseconds) / 1e9
        }
    }
}
