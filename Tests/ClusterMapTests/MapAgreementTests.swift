import StorageWire
import Testing

@testable import ClusterMap

struct MapAgreementTests {
    private func ballot(_ round: UInt64, _ node: String = "a") -> MapBallot {
        MapBallot(round: round, node: Array(node.utf8))
    }

    @Test func aMemberPromisesAndAccepts() {
        var member = MapAcceptor(version: 4, value: [4])
        #expect(member.prepare(version: 5, ballot(1)) == .promised(nil))
        #expect(member.accept(version: 5, ballot(1), [5]) == .accepted)
        #expect(member.prepare(version: 5, ballot(1, "0")) == .refused(ballot(1)))
        #expect(member.accept(version: 5, ballot(0), [6]) == .refused(ballot(1)))
        // The next attempt hears what was accepted.
        #expect(member.prepare(version: 5, ballot(2)) == .promised(.init(ballot: ballot(1), value: [5])))
        #expect(member.accept(version: 5, ballot(1), [5]) == .refused(ballot(2)))
    }

    @Test func aMemberTakesPartInTheNextVersionOnly() {
        var member = MapAcceptor(version: 4, value: [4])
        #expect(member.prepare(version: 4, ballot(9)) == .decided(version: 4, value: [4]))
        #expect(member.prepare(version: 6, ballot(9)) == .behind(version: 4))
        #expect(member.accept(version: 6, ballot(9), [6]) == .behind(version: 4))
        #expect(member.promised == nil)
        let isNews = member.learn(version: 4, [9])
        #expect(!isNews)
        _ = member.accept(version: 5, ballot(1), [5])
        let isNewer = member.learn(version: 7, [7])
        #expect(isNewer)
        #expect(member == MapAcceptor(version: 7, value: [7]))
    }

    @Test func aMajorityDecides() {
        var proposal = MapProposal(members: ["a", "b", "c"], value: [5])
        #expect(proposal.receive(.promised(nil), from: "a") == .wait)
        // Twice is once.
        #expect(proposal.receive(.promised(nil), from: "a") == .wait)
        #expect(proposal.receive(.promised(nil), from: "stranger") == .wait)
        #expect(proposal.receive(.promised(nil), from: "c") == .accept([5]))
        #expect(proposal.receive(.promised(nil), from: "b") == .wait)
        #expect(proposal.receive(.accepted, from: "b") == .wait)
        #expect(proposal.receive(.accepted, from: "c") == .decided([5], isOwn: true))
        #expect(proposal.receive(.accepted, from: "a") == .wait)
    }

    @Test func whatMayBeDecidedIsProposedInstead() {
        var proposal = MapProposal(members: ["a", "b", "c"], value: [5])
        #expect(proposal.receive(.promised(.init(ballot: ballot(2), value: [2])), from: "a") == .wait)
        #expect(proposal.receive(.promised(.init(ballot: ballot(1), value: [1])), from: "b") == .accept([2]))
        _ = proposal.receive(.accepted, from: "a")
        #expect(proposal.receive(.accepted, from: "b") == .decided([2], isOwn: false))
    }

    @Test func anAttemptEnds() {
        var outbid = MapProposal(members: ["a", "b", "c"], value: [5])
        #expect(outbid.receive(.refused(ballot(7)), from: "b") == .outbid(ballot(7)))
        #expect(outbid.receive(.promised(nil), from: "a") == .wait)

        var late = MapProposal(members: ["a", "b", "c"], value: [5])
        #expect(late.receive(.decided(version: 9, value: [9]), from: "b") == .overtaken(version: 9, value: [9]))

        var alone = MapProposal(members: ["a", "b", "c"], value: [5])
        #expect(alone.receive(.promised(nil), from: "a") == .wait)
        #expect(alone.lost("b") == .wait)
        #expect(alone.lost("c") == .noMajority(missing: ["b", "c"]))
    }

    @Test func aMemberThatIsBehindIsTaught() {
        var proposal = MapProposal(members: ["a", "b"], value: [5])
        #expect(proposal.receive(.behind(version: 1), from: "b") == .teach("b"))
        #expect(proposal.receive(.promised(nil), from: "b") == .wait)
        #expect(proposal.receive(.promised(nil), from: "a") == .accept([5]))
    }

    @Test func oneNodeDecidesAlone() {
        var proposal = MapProposal(members: ["a"], value: [2])
        #expect(proposal.receive(.promised(nil), from: "a") == .accept([2]))
        #expect(proposal.receive(.accepted, from: "a") == .decided([2], isOwn: true))
    }
}
