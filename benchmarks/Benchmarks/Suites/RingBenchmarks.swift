import Ring

/// A ring of 2^18 partitions with three replicas on 1,000 devices.
enum RingBenchmarks {
    static let all = [
        Benchmark("ring.hash", "hash of /account/container/object") { _ in
            let hasher = PathHasher(prefix: Array("prefix".utf8), suffix: Array("suffix".utf8))
            let names = (0..<sampleCount).map { Array("holidays/2026/picture-\($0).jpg".utf8) }
            let (account, container) = (Array("AUTH_test".utf8), Array("photographs".utf8))
            return Workload { operations in
                var sum: UInt64 = 0
                for index in 0..<operations {
                    sum &+= hasher.hash(account: account, container: container, object: names[index % sampleCount]).low
                }
                return sum
            }
        },
        Benchmark("ring.lookup", "the primaries of a hash") { _ in
            let ring = try balanced().ring()
            let hashes = sampleHashes()
            return Workload { operations in
                var sum: UInt64 = 0
                for index in 0..<operations {
                    for id in ring.primaries(of: hashes[index % sampleCount]) { sum &+= UInt64(id) }
                }
                return sum
            }
        },
        Benchmark("ring.handoffs", "the first three handoffs of a partition") { _ in
            let ring = try balanced().ring()
            let partitions = sampleHashes().map { ring.partition(of: $0) }
            return Workload { operations in
                var sum: UInt64 = 0
                for index in 0..<operations {
                    var handoffs = ring.handoffs(of: partitions[index % sampleCount]).makeIterator()
                    for _ in 0..<3 { sum &+= UInt64(handoffs.next() ?? 0) }
                }
                return sum
            }
        },
        Benchmark("ring.first-rebalance", "placing all partitions anew", size: .operations(1)) { _ in
            let empty = try unbalanced()
            return Workload { try rebalance(empty, $0) }
        },
        Benchmark("ring.grow", "a rebalance after ten more devices came", size: .operations(1)) { _ in
            var builder = try balanced()
            for number in 0..<10 { try builder.add(device(number, node: devices / devicesPerNode)) }
            let grown = builder
            return Workload { try rebalance(grown, $0) }
        },
    ]

    private static let partPower = 18
    private static let devices = 1000
    private static let devicesPerNode = 20
    private static let zones = 5
    /// Different inputs that are used in turn: more than branch predictors remember.
    private static let sampleCount = 4096
    /// Long after the first rebalance, so that every partition may move.
    private static let later = 1_000_000

    private static func device(_ number: Int, node: Int) -> RingDevice {
        RingDevice(
            zone: node % zones, ip: "10.0.\(node / 250).\(node % 250)", port: 6200,
            device: "d\(number % devicesPerNode)", weight: 100)
    }

    private static func unbalanced() throws -> RingBuilder {
        var builder = try RingBuilder(partPower: partPower, replicas: 3, minPartHours: 1)
        for number in 0..<devices { try builder.add(device(number, node: number / devicesPerNode)) }
        return builder
    }

    private static func balanced() throws -> RingBuilder {
        var builder = try unbalanced()
        try builder.rebalance(now: 1, seed: 1)
        return builder
    }

    private static func rebalance(_ builder: RingBuilder, _ operations: Int) throws -> UInt64 {
        var moved = 0
        for _ in 0..<operations {
            var copy = builder
            moved += try copy.rebalance(now: later, seed: 1).movedParts
        }
        return UInt64(moved)
    }

    private static func sampleHashes() -> [PathHash] {
        var random = SplitMix(seed: 1)
        return (0..<sampleCount).map { _ in PathHash(high: random.next(), low: random.next()) }
    }
}
