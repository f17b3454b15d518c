import NIOCore
import Ring
import StorageWire
import Testing

@testable import Proxy

/// Listings against a plain model of OpenStack Swift's, on one replica and merged from replicas that differ.
@Suite(.serialized) struct ListingModelTests {
    private typealias Row = (name: String, time: UInt64, deleted: Bool)

    private static func name(_ random: inout SeededGenerator) -> String {
        String((0..<Int.random(in: 1...6, using: &random)).map { _ in Array("aab/-").randomElement(using: &random)! })
    }

    private static func model(_ names: [String], _ query: ListTable) -> [String] {
        func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
        let (prefix, delimiter) = (text(query.prefix), query.delimiter)
        let (low, high) = query.reverse ? (query.endMarker, query.marker) : (query.marker, query.endMarker)
        var result: [String] = []
        let sorted = names.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        for name in query.reverse ? sorted.reversed() : sorted {
            let bytes = Array(name.utf8)
            guard name.hasPrefix(prefix), low.isEmpty || low.lexicographicallyPrecedes(bytes),
                high.isEmpty || bytes.lexicographicallyPrecedes(high)
            else { continue }
            if query.omitsSubdirectories, bytes == query.prefix { continue }
            let place =
                delimiter.isEmpty
                ? nil
                : bytes.indices.first { $0 >= query.prefix.count && bytes[$0...].starts(with: delimiter) }
            guard let place else {
                result.append(name)
                continue
            }
            let end = place + delimiter.count
            if query.omitsSubdirectories {
                if end == bytes.count { result.append(name) }
            } else {
                let subdirectory = text(Array(bytes[..<end]))
                if subdirectory != text(low), !result.contains(subdirectory) { result.append(subdirectory) }
            }
        }
        return Array(result.prefix(query.limit))
    }

    private static func query(_ random: inout SeededGenerator) -> @Sendable (inout ListTable) -> Void {
        func maybe(_ random: inout SeededGenerator) -> [UInt8] {
            Int.random(in: 0..<3, using: &random) == 0 ? Array(name(&random).utf8) : []
        }
        let limit = [1, 2, 5, 10_000].randomElement(using: &random)!
        let (marker, endMarker) = (maybe(&random), maybe(&random))
        let prefix = Array(["", "", "a", "a/", "b-"].randomElement(using: &random)!.utf8)
        let delimiter = Array(["", "/", "-", "a/", "aa"].randomElement(using: &random)!.utf8)
        let reverse = Bool.random(using: &random)
        let path = Int.random(in: 0..<5, using: &random) == 0
        return { query in
            query.limit = limit
            query.marker = marker
            query.endMarker = endMarker
            query.prefix = path ? Array("a/".utf8) : prefix
            query.delimiter = path ? Array("/".utf8) : delimiter
            query.omitsSubdirectories = path
            query.reverse = reverse
        }
    }

    private static func write(_ row: Row, to replica: Int, of cluster: TestCluster) async {
        let reply: String = await cluster.run { loop, done in
            let target = cluster.container()
            let device = target.primaries[replica]
            let fanOut = FanOut(loop) { reply, _ in done("\(reply)") }
            fanOut.ask(
                .putRow(
                    PutRow(
                        table: target.address(device),
                        row: TableRow(
                            name: Array(row.name.utf8), timestamp: Timestamp(rawValue: row.time), deleted: row.deleted,
                            policy: 0, bytes: 1, count: row.deleted ? 0 : 1, value: ByteBuffer()))),
                device: device, index: 0, timeout: .seconds(5))
        }
        #expect(reply.contains("stored"))
    }

    @Test(arguments: [1, 2, 3] as [UInt64], [false, true])
    func pagesAreThoseOfTheModel(seed: UInt64, replicasDiffer: Bool) async throws {
        let cluster = try await TestCluster()
        var random = SeededGenerator(seed: seed)
        #expect(await cluster.create().isStored)
        var newest: [String: Row] = [:]
        for time in 1...80 as ClosedRange<UInt64> {
            let row: Row = (Self.name(&random), time, Int.random(in: 0..<4, using: &random) == 0)
            newest[row.name] = row
            let missing = replicasDiffer ? Int.random(in: 0..<6, using: &random) : 3
            for replica in 0..<3 where replica != missing { await Self.write(row, to: replica, of: cluster) }
        }
        let names = newest.values.filter { !$0.deleted }.map(\.name)
        let target = cluster.container()
        for number in 0..<150 {
            let change = Self.query(&random)
            var query = ListTable(table: target.address(0), limit: 0)
            change(&query)
            if replicasDiffer { cluster.nodes[number % 3].fault = number % 4 == 0 ? .refuses(.busy) : nil }
            let page = await cluster.list("c", change)
            if !cluster.nodes.contains(where: { $0.fault != nil }) {
                #expect(page == Self.model(names, query), "seed \(seed), \(number): \(query)")
            } else {
                #expect(page != nil)
            }
            cluster.heal()
        }
        await checkPaging(cluster, names, seed: seed)
        try await cluster.stop()
    }

    private func checkPaging(_ cluster: TestCluster, _ names: [String], seed: UInt64) async {
        for delimiter in ["", "/", "a/"] {
            for reverse in [false, true] {
                for limit in [1, 3] {
                    var listed: [String] = []
                    for _ in 0..<200 {
                        let marker = listed.last ?? ""
                        let page = await cluster.list {
                            $0.limit = limit
                            $0.marker = Array(marker.utf8)
                            $0.delimiter = Array(delimiter.utf8)
                            $0.reverse = reverse
                        }
                        guard let page, !page.isEmpty else { break }
                        listed += page
                    }
                    var query = ListTable(table: cluster.container().address(0), limit: 10_000)
                    query.delimiter = Array(delimiter.utf8)
                    query.reverse = reverse
                    #expect(listed == Self.model(names, query), "seed \(seed), \(delimiter), \(reverse), \(limit)")
                }
            }
        }
    }
}
