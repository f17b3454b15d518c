/// One device on the disk that is measured.
enum DeviceLogBenchmarks {
    static let all = commits + reads + audits + listings
}
