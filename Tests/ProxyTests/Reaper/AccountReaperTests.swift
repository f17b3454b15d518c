import Daemon
import NIOCore
import StorageWire
import Testing

@testable import Proxy

/// What becomes of an account after its deletion, on replicas that come and go.
@Suite(.serialized) struct AccountReaperTests {
    private static let names = ["o1", "a/b", "a//b/", "\u{e4}\u{1F600}", " ", "%2F", "z\n"]
    private static let containers = ["c", "d e", "\u{fc}"]

    @Test func everythingIsRemoved() async throws {
        let cluster = try await TestCluster(devices: 4)
        try await cluster.fill(Self.containers, Self.names)
        #expect(await cluster.deleteAccount())
        let reaper = try await cluster.reap()
        #expect(reaper.control.status.done == Int64(Self.containers.count * Self.names.count))
        for container in Self.containers {
            #expect(await cluster.list(container) == [])
            #expect(await cluster.state(of: cluster.container(container))?.isLive == false)
            for name in Self.names { #expect(await cluster.get(name, in: container) == .missing) }
        }
        let account = try #require(await cluster.state(of: cluster.account()))
        #expect(account.rows == 0 && account.head?.isDeletedAccount == true)
        try await cluster.stop()
    }

    @Test func pagesFollowPages() async throws {
        let cluster = try await TestCluster()
        let names = (0..<600).map { "o\($0)" }
        try await cluster.fill(["c"], names)
        #expect(await cluster.deleteAccount())
        let reaper = try await cluster.reap()
        #expect(reaper.control.status.done == 600)
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        try await cluster.stop()
    }

    @Test func accountsThatAreThereOrDeletedTooLatelyStay() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        try await cluster.reap()
        #expect(await cluster.list() == ["o"])
        #expect(await cluster.deleteAccount())
        try await cluster.reap(delay: 3600)
        #expect(await cluster.list() == ["o"])
        try await cluster.reap()
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        try await cluster.stop()
    }

    @Test func theNextPrimaryBeginsOnlyWhenTheFirstIsAway() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        #expect(await cluster.deleteAccount())
        try await cluster.reap(place: 1)
        try await cluster.reap(place: 2)
        #expect(await cluster.list() == ["o"])
        cluster.nodes[Int(cluster.account().primaries[0])].fault = .refuses(.unreachable)
        try await cluster.reap(place: 2)
        #expect(await cluster.list() == ["o"])
        try await cluster.reap(place: 1)
        #expect(await cluster.list() == [])
        cluster.heal()
        #expect(await cluster.get("o") == .missing)
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        try await cluster.stop()
    }

    /// Nothing may be removed while others still find the account.
    @Test func aDeletionThatOneReplicaKnowsIsCarriedThroughFirst() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        let first = Int(cluster.account().primaries[0])
        for node in cluster.nodes.indices where node != first { cluster.nodes[node].fault = .refuses(.unreachable) }
        #expect(await !cluster.deleteAccount())
        try await cluster.reap(isWell: false)
        cluster.heal()
        #expect(await cluster.list() == ["o"])
        try await cluster.reap()
        #expect(await cluster.list() == [])
        cluster.nodes[first].fault = .refuses(.unreachable)
        #expect(await cluster.state(of: cluster.account())?.head?.isDeletedAccount == true)
        try await cluster.stop()
    }

    @Test func aContainersDeletionThatOneReplicaKnowsIsCarriedThrough() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], [])
        let first = Int(cluster.container().primaries[0])
        for node in cluster.nodes.indices where node != first { cluster.nodes[node].fault = .refuses(.unreachable) }
        #expect(await cluster.deleteContainer().isUnavailable)
        cluster.heal()
        #expect(await cluster.deleteAccount())
        try await cluster.reap()
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        cluster.nodes[first].fault = .refuses(.unreachable)
        #expect(await cluster.state(of: cluster.container())?.isLive == false)
        try await cluster.stop()
    }

    @Test func whatFailsIsLeftForTheNextPass() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(Self.containers, Self.names)
        #expect(await cluster.deleteAccount())
        let others = cluster.account().primaries.dropFirst()
        for device in others { cluster.nodes[Int(device)].fault = .slow(.milliseconds(20)) }
        let reaper = cluster.reaper(cluster.account().primaries[0])
        reaper.start()
        let pass = reaper.runPass()
        while reaper.control.status.done < 3 { try await Task.sleep(for: .milliseconds(5)) }
        for device in others { cluster.nodes[Int(device)].fault = .breaks }
        try await pass.get()
        #expect(reaper.control.status.errors > 0)
        cluster.heal()
        try await reaper.runPass().get()
        reaper.stop()
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        for container in Self.containers { #expect(await cluster.list(container) == []) }
        try await cluster.stop()
    }

    @Test func aPausedReaperRemovesNothing() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        #expect(await cluster.deleteAccount())
        let reaper = cluster.reaper(cluster.account().primaries[0])
        reaper.control.pause()
        reaper.start()
        let pass = reaper.runPass()
        try await Task.sleep(for: .milliseconds(300))
        #expect(await cluster.list() == ["o"])
        reaper.control.resume()
        try await pass.get()
        // The replica that the first pass looked at may have been the one that heard of the deletion last.
        try await reaper.runPass().get()
        reaper.stop()
        #expect(await cluster.list() == [])
        try await cluster.stop()
    }

    @Test func whatIsNewerThanWhatWasSeenStays() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        guard case .stored(let old) = await cluster.put("o", [1]), case .stored = await cluster.put("o", [2]) else {
            throw Unexpected()
        }
        #expect(await cluster.delete("o", at: old) == .missing)
        #expect(await cluster.get("o") == .body([2]))
        #expect(await cluster.list() == ["o"])
        let state = try #require(await cluster.state(of: cluster.container()))
        let put = try #require(state.head?.put)
        #expect(await cluster.delete("o").isStored)
        #expect(await cluster.delete(cluster.container(), at: put) == .missing)
        #expect(await cluster.state(of: cluster.container())?.isLive == true)
        try await cluster.stop()
    }

    @Test func aDeletedAccountIsNotMadeAgain() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        #expect(await cluster.deleteAccount())
        #expect(await cluster.makeAccount() == .missing)
        try await cluster.reap()
        #expect(await cluster.makeAccount() == .missing)
        #expect(await cluster.state(of: cluster.account())?.head?.isDeletedAccount == true)
        try await cluster.stop()
    }

    /// An object that was on its way when its container was removed keeps that alive; the account hears of it and is reaped once more.
    @Test func whatComesLateIsRemovedByALaterPass() async throws {
        let cluster = try await TestCluster()
        try await cluster.fill(["c"], ["o"])
        #expect(await cluster.deleteAccount())
        try await cluster.reap()
        guard case .stored(let timestamp) = await cluster.put("late", [1]) else { throw Unexpected() }
        #expect(await cluster.listInAccount("c", at: timestamp))
        try await cluster.reap()
        #expect(await cluster.list() == [])
        #expect(await cluster.get("late") == .missing)
        #expect(await cluster.state(of: cluster.account())?.rows == 0)
        try await cluster.stop()
    }

    private struct Unexpected: Error {}
}

extension TestCluster {
    fileprivate func account() -> TableTarget { TableTarget(cluster: cluster, account: Array("a".utf8)) }

    /// An account with containers that all have objects of these names; the first is not packed into the log.
    fileprivate func fill(_ containers: [String], _ names: [String]) async throws {
        #expect(await makeAccount().isStored)
        for container in containers {
            guard case .stored(let timestamp) = await create(container) else { throw NotMade() }
            #expect(await listInAccount(container, at: timestamp))
            for name in names {
                let body = [UInt8](repeating: 7, count: name == names.first ? 9_000 : 3)
                #expect(await put(name, body, in: container).isStored)
            }
        }
    }

    private struct NotMade: Error {}

    fileprivate func makeAccount() async -> Written {
        await run { loop, done in
            TableChanges.update(
                loop, self.account(), creates: true, policy: UpdateTable.anyPolicy, metadata: []
            ) { done(Self.written($0)) }
        }
    }

    fileprivate func listInAccount(_ container: String, at timestamp: Timestamp) async -> Bool {
        await run { loop, done in
            TableChanges.list(
                loop, Array(container.utf8), policy: 0, in: self.account(), at: timestamp, deleted: false
            ) { done(Self.written($0).isStored) }
        }
    }

    fileprivate func deleteAccount() async -> Bool {
        await run { loop, done in TableChanges.delete(loop, self.account()) { done(Self.written($0).isStored) } }
    }

    fileprivate func delete(_ table: TableTarget, at timestamp: Timestamp) async -> Written {
        await run { loop, done in TableChanges.delete(loop, table, at: timestamp) { done(Self.written($0)) } }
    }

    fileprivate func delete(_ object: String, at timestamp: Timestamp) async -> Written {
        await run { loop, done in
            ObjectChanges.delete(loop, self.target(object), at: timestamp) { done(Self.written($0)) }
        }
    }

    /// `nil` without a majority.
    fileprivate func state(of table: TableTarget) async -> TableState? {
        await run { loop, done in
            TableRead.run(loop, table) { if case .state(let state) = $0 { done(state) } else { done(nil) } }
        }
    }

    /// A pass on the node of the account's primary at a place.
    @discardableResult
    fileprivate func reap(place: Int = 0, delay: Int64 = 0, isWell: Bool = true) async throws -> AccountReaper {
        let reaper = reaper(account().primaries[place], delay: delay)
        reaper.start()
        try await reaper.runPass().get()
        reaper.stop()
        if isWell { #expect(reaper.control.status.lastError == "") }
        return reaper
    }
}
