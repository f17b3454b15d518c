import NIOCore
import NIOPosix
import Ring
import StorageWire
import Testing

@testable import ObjectServer

/// Questions to a node of version 2 of the wire, which knows the older ones only.
struct OlderNodeTests {
    /// Has some versions, in the order of their hashes.
    private final class Node: StorageNode {
        let versions: [ReplicaVersion]
        let isOld: Bool

        init(_ versions: [ReplicaVersion], isOld: Bool) {
            self.versions = versions
            self.isOld = isOld
        }

        func call(
            _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop,
            receiver: any CallReceiver, tag: Int
        ) -> any StorageCall {
            receiver.received(answer(request), tag: tag)
            return Over()
        }

        private func answer(_ request: StorageRequest) -> StorageReply {
            guard !isOld || request.minimumVersion == .version2 else { return .failed(StorageFailure(.unsupported)) }
            switch request {
            case .replication(.range(let query)):
                return page(query.limit) { query.range.first <= $0 && $0 <= query.range.last }
            case .replication(.versions(let query)):
                let partitions = Set(query.partitions)
                return page(query.limit) {
                    query.first <= $0 && partitions.contains(UInt32($0.partition(partPower: Int(query.partPower))))
                }
            default: return .failed(StorageFailure(.malformed, "another question"))
            }
        }

        private func page(_ limit: Int, _ isWanted: (PathHash) -> Bool) -> StorageReply {
            let found = versions.filter { isWanted($0.hash) }
            return .replication(
                .versions(VersionPage(versions: Array(found.prefix(limit)), isWhole: found.count <= limit)))
        }
    }

    private final class Over: StorageCall {
        func send(_ request: StorageRequest) {}
        func end() {}
    }

    private static let partPower = 4

    private static func versions(_ random: inout SplitMix) -> [ReplicaVersion] {
        (0..<Int.random(in: 0...60, using: &random)).map { _ in
            ReplicaVersion(
                hash: PathHash(high: .random(in: 0 ... .max, using: &random), low: .random(in: 0...3, using: &random)),
                timestamp: Timestamp(rawValue: .random(in: 1...9, using: &random)), kind: .live)
        }.sorted { $0.hash < $1.hash }
    }

    /// All pages, as who asks goes on behind the last version of each.
    private func ask(_ node: Node, _ query: VersionQuery) async throws -> [ReplicaVersion] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var query = query
        var found: [ReplicaVersion] = []
        while true {
            let asked = query
            let reply = try await loop.flatSubmit { node.versions(asked, within: .seconds(1), on: loop) }.get()
            guard case .replication(.versions(let page)) = reply else { throw StorageFailure(.malformed, "\(reply)") }
            #expect(page.versions.count <= query.limit)
            found += page.versions
            guard !page.isWhole else { return found }
            query.first = try #require(page.versions.last?.hash.successor)
        }
    }

    @Test func anOlderNodeTellsTheSame() async throws {
        for seed in 0..<300 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            let versions = Self.versions(&random)
            let partitions = (0..<UInt32(1 << Self.partPower)).filter { _ in Bool.random(using: &random) }
            let first = PathHash(high: .random(in: 0 ... .max / 2, using: &random), low: 0)
            let query = VersionQuery(
                device: 1, policy: 0, partPower: Self.partPower, partitions: partitions,
                first: Bool.random(using: &random) ? first : PathHash(high: 0, low: 0),
                limit: .random(in: 1...20, using: &random))
            let expected = versions.filter {
                query.first <= $0.hash && partitions.contains(UInt32($0.hash.partition(partPower: Self.partPower)))
            }
            #expect(try await ask(Node(versions, isOld: true), query) == expected, "seed \(seed)")
            #expect(try await ask(Node(versions, isOld: false), query) == expected, "seed \(seed)")
        }
    }

    @Test func neighboursAreOneRange() {
        let query = VersionQuery(device: 1, policy: 0, partPower: 4, partitions: [0, 1, 2, 5, 14, 15])
        #expect(
            query.ranges.map(\.first.high) == [0, 0x5000_0000_0000_0000, 0xe000_0000_0000_0000])
        #expect(query.ranges.map(\.last.high) == [0x2fff_ffff_ffff_ffff, 0x5fff_ffff_ffff_ffff, .max])
        let whole = VersionQuery(device: 1, policy: 0, partPower: 0, partitions: [0])
        #expect(whole.ranges == [.all])
        let late = VersionQuery(
            device: 1, policy: 0, partPower: 4, partitions: [0, 5], first: PathHash(high: 0x5000_0000_0000_0001, low: 7)
        )
        #expect(late.ranges.map(\.first) == [PathHash(high: 0x5000_0000_0000_0001, low: 7)])
    }

    /// What is no answer stays none.
    @Test func aFailureOfAnOlderNodeIsOne() async throws {
        final class Busy: StorageNode {
            func call(
                _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop,
                receiver: any CallReceiver, tag: Int
            ) -> any StorageCall {
                let reason: StorageFailure.Reason = request.minimumVersion == .version2 ? .busy : .unsupported
                receiver.received(.failed(StorageFailure(reason)), tag: tag)
                return Over()
            }
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let query = VersionQuery(device: 1, policy: 0, partPower: 4, partitions: [3])
        let reply = try await loop.flatSubmit { Busy().versions(query, within: .seconds(1), on: loop) }.get()
        guard case .failed(let failure) = reply else { throw StorageFailure(.malformed, "\(reply)") }
        #expect(failure.reason == .busy)
    }
}
