import Glibc
import Testing

@testable import Daemon

struct ProcessUsageTests {
    @Test func readsTheFieldsOfStatus() {
        let text = """
            Name:\tringfort
            VmHWM:\t   20480 kB
            VmRSS:\t   10240 kB
            RssAnon:\t 1 kB
            Threads:\t7
            odd line
            VmSwap:

            """
        let usage = ProcessUsage(status: Array(text.utf8))
        #expect(usage.residentBytes == 10 << 20)
        #expect(usage.peakResidentBytes == 20 << 20)
        #expect(usage.anonymousBytes == 1024)
        #expect(usage.threads == 7)
    }

    @Test func seesThisProcess() {
        let before = ProcessUsage.sample()
        let descriptors = (0..<50).map { _ in open("/dev/null", O_RDONLY) }
        let after = ProcessUsage.sample()
        descriptors.forEach { close($0) }
        #expect(before.residentBytes > 1 << 20)
        #expect(before.anonymousBytes <= before.residentBytes)
        #expect(before.threads >= 1)
        // Other tests of this process open and close a few at the same time.
        #expect(after.openDescriptors >= before.openDescriptors + 25)
        #expect(after.cpuNanoseconds >= before.cpuNanoseconds)
    }

    @Test func unreadableDirectoryGivesZeros() {
        let usage = ProcessUsage.sample(directory: "/none")
        #expect(usage.residentBytes == 0)
        #expect(usage.openDescriptors == 0)
    }

    @Test func seriesHaveTheNamesOfOtherClients() throws {
        let registry = MetricsRegistry()
        try ProcessUsage.register(on: registry)
        let text = String(decoding: registry.render(), as: UTF8.self)
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
            #expect(text.contains("\n\(name) "))
        }
    }
}
