import NIOCore
import StorageWire
import Testing

@testable import Proxy

/// The promises of the store with its parts failing.
@Suite(.serialized) struct ClusterTests {
    private static let large = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    private static let reasons: [StorageFailure.Reason] = [.unreachable, .busy, .full, .io, .noDevice]

    private func use(
        devices: Int = 3, skews: [Int] = [0], limits: StoreLimits = TestCluster.limits,
        _ body: (TestCluster) async throws -> Void
    ) async throws {
        let cluster = try await TestCluster(devices: devices, skews: skews, limits: limits)
        do { try await body(cluster) } catch {
            try await cluster.stop()
            throw error
        }
        try await cluster.stop()
    }

    /// Everything that a client can do succeeds and is seen.
    private func exercise(_ cluster: TestCluster, _ name: String) async {
        let container = "c-\(name)"
        #expect(await cluster.create(container).isStored)
        #expect(await cluster.put("small", [1, 2, 3], in: container).isStored)
        #expect(await cluster.put("large", Self.large, in: container).isStored)
        #expect(await cluster.get("small", in: container) == .body([1, 2, 3]))
        #expect(await cluster.get("large", in: container) == .body(Self.large))
        #expect(await cluster.get("large", in: container, newest: true) == .body(Self.large))
        #expect(await cluster.list(container) == ["large", "small"])
        #expect(await cluster.deleteContainer(container) == .notEmpty)
        #expect(await cluster.delete("small", in: container).isStored)
        #expect(await cluster.get("small", in: container) == .missing)
        #expect(await cluster.list(container) == ["large"])
        #expect(await cluster.put("small", [4], in: container, condition: .ifAbsent).isStored)
        #expect(await cluster.put("small", [5], in: container, condition: .ifAbsent) == .exists)
        #expect(await cluster.get("small", in: container) == .body([4]))
        #expect(await cluster.delete("small", in: container).isStored)
        #expect(await cluster.delete("large", in: container).isStored)
        #expect(await cluster.list(container) == [])
        #expect(await cluster.deleteContainer(container).isStored)
    }

    /// New rings move one replica of a partition at most, so that what was written before is found before its data has followed.
    @Test func ringsChangeUnderARunningProxy() async throws {
        try await use(devices: 4) { cluster in
            #expect(await cluster.create("before").isStored)
            for number in 0..<40 { #expect(await cluster.put("\(number)", [UInt8(number)], in: "before").isStored) }
            try await cluster.drain(device: 3)
            for number in 0..<40 {
                #expect(await cluster.get("\(number)", in: "before") == .body([UInt8(number)]))
            }
            #expect(await cluster.list("before")?.count == 40)
            await exercise(cluster, "after")
        }
    }

    /// The first replica has the container, the second one deletes it, and the third one never heard of it, or only of its end before: whoever
    /// asks the first and the third has to hear that it is gone.
    @Test(arguments: [false, true]) func aDeletedContainerIsGoneForEveryMajority(wasThereBefore: Bool) async throws {
        try await use { cluster in
            if wasThereBefore {
                #expect(await cluster.create().isStored)
                #expect(await cluster.deleteContainer().isStored)
            }
            cluster.nodes[2].fault = .refuses(.unreachable)
            #expect(await cluster.create().isStored)
            cluster.heal()
            cluster.nodes[0].fault = .refuses(.unreachable)
            #expect(await cluster.deleteContainer().isStored)
            for away in cluster.nodes.indices {
                cluster.heal()
                cluster.nodes[away].fault = .refuses(.unreachable)
                #expect(await cluster.isThere() == false, "without \(away)")
            }
        }
    }

    @Test func everythingWorksOnAHealthyCluster() async throws {
        try await use { cluster in
            await exercise(cluster, "x")
            #expect(await cluster.create().isStored)
            #expect(await cluster.put("o", [1]).isStored)
            #expect(await cluster.post("o", type: "a/b").isStored)
            #expect(await cluster.get("o") == .body([1]))
            #expect(await cluster.post("none", type: "a/b") == .missing)
        }
    }

    @Test(arguments: [3, 4]) func everythingWorksWithoutOneDevice(devices: Int) async throws {
        try await use(devices: devices) { cluster in
            for node in cluster.nodes.indices {
                for reason in Self.reasons {
                    cluster.nodes[node].fault = .refuses(reason)
                    await exercise(cluster, "\(node)-\(reason)")
                    cluster.heal()
                }
                cluster.nodes[node].fault = .breaks
                await exercise(cluster, "\(node)-breaks")
                cluster.nodes[node].fault = .slow(.milliseconds(5))
                await exercise(cluster, "\(node)-slow")
                cluster.heal()
            }
        }
    }

    @Test func aSilentDeviceDelaysButStopsNothing() async throws {
        var limits = TestCluster.limits
        limits.writeTimeout = .seconds(5)
        limits.commitTimeout = .seconds(5)
        try await use(limits: limits) { cluster in
            #expect(await cluster.create().isStored)
            cluster.nodes[1].fault = .silent
            await withTaskGroup { group in
                for number in 0..<8 {
                    group.addTask {
                        let body = number % 2 == 0 ? [UInt8(number)] : Self.large
                        #expect(await cluster.put("o\(number)", body).isStored)
                        #expect(await cluster.get("o\(number)") == .body(body))
                        #expect(await cluster.get("o\(number)", newest: true) == .body(body))
                    }
                }
            }
            #expect(await cluster.list()?.count == 8)
        }
    }

    /// Long before a deadline: a client that is held back by one replica alone does not wait for it for long.
    @Test(.timeLimit(.minutes(1))) func aReplicaThatTakesNothingIsLeftOutOfAnUpload() async throws {
        var limits = TestCluster.limits
        limits.writeTimeout = .seconds(120)
        limits.commitTimeout = .seconds(120)
        try await use(limits: limits) { cluster in
            #expect(await cluster.create().isStored)
            let body = (0..<400_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            for node in 0..<3 {
                cluster.nodes[node].fault = .silent
                #expect(await cluster.put("o\(node)", body, paces: true).isStored)
                cluster.heal()
                #expect(await cluster.get("o\(node)") == .body(body))
            }
        }
    }

    @Test func withoutTwoDevicesNothingIsAcknowledged() async throws {
        try await use { cluster in
            #expect(await cluster.create().isStored)
            #expect(await cluster.put("old", [1]).isStored)
            for reason in Self.reasons {
                cluster.nodes[0].fault = .refuses(reason)
                cluster.nodes[2].fault = .refuses(reason)
                #expect(await cluster.put("old", [2]).isUnavailable)
                #expect(await cluster.put("large", Self.large).isUnavailable)
                #expect(await cluster.put("new-\(reason)", [2], condition: .ifAbsent).isUnavailable)
                #expect(await cluster.get("old") == .unavailable)
                #expect(await cluster.delete("old").isUnavailable)
                #expect(await cluster.post("old", type: "a/b").isUnavailable)
                #expect(await cluster.list() == nil)
                #expect(await cluster.create("other").isUnavailable)
                #expect(await cluster.deleteContainer().isUnavailable)
                cluster.heal()
            }
        }
    }

    @Test func newerWinsWhateverReplicaIsAway() async throws {
        try await use { cluster in
            #expect(await cluster.create().isStored)
            for first in 0..<3 {
                for second in 0..<3 {
                    let name = "o\(first)\(second)"
                    #expect(await cluster.put(name, [1]).isStored)
                    cluster.nodes[first].fault = .refuses(.unreachable)
                    #expect(await cluster.put(name, [2]).isStored)
                    #expect(await cluster.put(name + "x", [2]).isStored)
                    cluster.heal()
                    cluster.nodes[second].fault = .refuses(.unreachable)
                    #expect(await cluster.get(name) == .body([2]))
                    #expect(await cluster.list()?.contains(name + "x") == true)
                    cluster.heal()
                    #expect(await cluster.get(name) == .body([2]))
                    cluster.nodes[second].fault = .refuses(.unreachable)
                    #expect(await cluster.delete(name).isStored)
                    cluster.heal()
                    cluster.nodes[first].fault = .refuses(.unreachable)
                    #expect(await cluster.get(name) == .missing)
                    #expect(await cluster.list()?.contains(name) == false)
                    cluster.heal()
                }
            }
        }
    }

    @Test func theLastAcknowledgedWinsWhateverTheClocksSay() async throws {
        try await use(skews: [50_000_000, 0, -50_000_000]) { cluster in
            #expect(await cluster.create().isStored)
            for body in [[7], Self.large] as [[UInt8]] {
                for proxy in [0, 1, 2, 1] {
                    let mine = body + [UInt8(proxy)]
                    #expect(await cluster.put("o", mine, proxy: proxy).isStored)
                    #expect(await cluster.get("o", proxy: 2) == .body(mine))
                    #expect(await cluster.post("o", type: "x/\(proxy)", proxy: 2).isStored)
                    #expect(await cluster.get("o", proxy: 1) == .body(mine))
                }
                #expect(await cluster.delete("o", proxy: 2).isStored)
                #expect(await cluster.get("o") == .missing)
                #expect(await cluster.list() == [])
            }
        }
    }

    /// Only one replica holds something newer, so the others have stored the first round.
    @Test func aLargeBodyIsWrittenAgainAboveWhatOneReplicaHolds() async throws {
        try await use(skews: [0, 50_000_000]) { cluster in
            #expect(await cluster.create().isStored)
            for holder in 0..<3 {
                let name = "o\(holder)"
                for node in 0..<3 where node != holder { cluster.nodes[node].fault = .refuses(.unreachable) }
                #expect(await cluster.put(name, [1], proxy: 1).isUnavailable)
                cluster.heal()
                #expect(await cluster.put(name, Self.large).isStored)
                for away in 0..<3 {
                    cluster.nodes[away].fault = .refuses(.unreachable)
                    #expect(await cluster.get(name) == .body(Self.large), "holder \(holder), away \(away)")
                    cluster.heal()
                }
            }
        }
    }

    /// The put was cut off and left its body with one replica: the others don't have what an update would be based on.
    @Test func aBodyThatAMinorityHoldsDoesNotBlockUpdates() async throws {
        try await use { cluster in
            #expect(await cluster.create().isStored)
            for holder in 0..<3 {
                let name = "o\(holder)"
                #expect(await cluster.put(name, [1]).isStored)
                for node in 0..<3 where node != holder { cluster.nodes[node].fault = .refuses(.unreachable) }
                #expect(await cluster.put(name, [2]).isUnavailable)
                cluster.heal()
                #expect(await cluster.post(name, type: "a/b").isStored, "holder \(holder)")
                let found = await cluster.get(name)
                #expect(found == .body([1]) || found == .body([2]))
                for away in 0..<3 {
                    cluster.nodes[away].fault = .refuses(.unreachable)
                    #expect(await cluster.get(name) == found, "holder \(holder), away \(away)")
                    cluster.heal()
                }
            }
        }
    }

    /// A delete that at most one replica took before it was cut off: what a read has said of the object the listing comes to say too.
    @Test func aReadSettlesWhatWasCutOff() async throws {
        try await use { cluster in
            #expect(await cluster.create().isStored)
            var live = 0
            for attempt in 0..<9 {
                #expect(await cluster.put("o\(attempt)", [1]).isStored)
                for node in 0..<3 where node != attempt % 3 { cluster.nodes[node].fault = .refuses(.unreachable) }
                #expect(await cluster.delete("o\(attempt)").isUnavailable)
                cluster.heal()
                // Refused as it was, it may be on its way to a replica still: reads and listings agree in the end.
                var listed: Int? = -1
                for _ in 0..<200 where listed != live {
                    live = 0
                    for name in 0...attempt where await cluster.get("o\(name)", newest: true) == .body([1]) {
                        live += 1
                    }
                    listed = await cluster.list()?.count
                }
                #expect(listed == live, "attempt \(attempt)")
            }
            // Some of the deletes were cut off after a replica had taken them.
            #expect(live < 9)
        }
    }

    /// Per name: a read returns the last acknowledged write, or one that was not acknowledged and may have taken effect after it: begun
    /// later, or by a proxy whose clock is ahead of the one that wrote last.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func historiesWithFaultsLoseNothing(seed: UInt64) async throws {
        let skews = [0, 700, -900]
        try await use(devices: 3 + Int(seed % 2), skews: skews) { cluster in
            var random = SeededGenerator(seed: seed)
            #expect(await cluster.create().isStored)
            var allowed: [[TestCluster.Found]] = Array(repeating: [.missing], count: 4)
            var open: [[(found: TestCluster.Found, proxy: Int)]] = Array(repeating: [], count: 4)
            func note(_ name: Int, _ found: TestCluster.Found, _ proxy: Int, stored: Bool) {
                if stored {
                    open[name].removeAll { skews[$0.proxy] <= skews[proxy] }
                    allowed[name] = [found] + open[name].map(\.found)
                } else {
                    open[name].append((found, proxy))
                    allowed[name].append(found)
                }
            }
            for step in 0..<120 {
                cluster.heal()
                if Int.random(in: 0..<4, using: &random) > 0 {
                    let faults: [FaultyNode.Fault] = [
                        .refuses(.unreachable), .refuses(.busy), .refuses(.full), .breaks, .slow(.milliseconds(1)),
                    ]
                    for _ in 0..<Int.random(in: 1...2, using: &random) {
                        cluster.nodes.randomElement(using: &random)?.fault = faults.randomElement(using: &random)
                    }
                }
                let name = Int.random(in: 0..<4, using: &random)
                let proxy = Int.random(in: 0..<3, using: &random)
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:
                    let body = Array("\(step)".utf8) + (step % 5 == 0 ? Self.large : [])
                    let written = await cluster.put("o\(name)", body, proxy: proxy)
                    note(name, .body(body), proxy, stored: written.isStored)
                case 2:
                    let written = await cluster.delete("o\(name)", proxy: proxy)
                    note(name, .missing, proxy, stored: written.isStored)
                default:
                    let found = await cluster.get("o\(name)", newest: step % 2 == 0, proxy: proxy)
                    #expect(
                        found == .unavailable || allowed[name].contains(found), "seed \(seed), step \(step): \(name)")
                }
            }
            cluster.heal()
            for name in 0..<4 {
                let found = await cluster.get("o\(name)")
                #expect(allowed[name].contains(found), "seed \(seed), at the end: \(name)")
            }
        }
    }

    @Test func ofRivalConditionalPutsOneSucceeds() async throws {
        try await use(skews: [0, 1_000]) { cluster in
            #expect(await cluster.create().isStored)
            for number in 0..<20 {
                let name = "o\(number)"
                let bodies: [[UInt8]] = number % 2 == 0 ? [[0], [1], [2], [3]] : (0..<4).map { Self.large + [$0] }
                let results = await withTaskGroup(of: (Int, TestCluster.Written).self) { group in
                    for (index, body) in bodies.enumerated() {
                        group.addTask {
                            (index, await cluster.put(name, body, condition: .ifAbsent, proxy: index % 2))
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                let winners = results.filter { $0.1.isStored }.map(\.0)
                #expect(winners.count == 1)
                #expect(results.filter { $0.1 == .exists }.count == 3)
                if let winner = winners.first { #expect(await cluster.get(name) == .body(bodies[winner])) }
            }
        }
    }
}
