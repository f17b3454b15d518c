import StorageWire
import Testing

@testable import Proxy

struct TableQuorumTests {
    private static func reply(_ digest: UInt64) -> TableReply {
        TableReply(head: nil, sums: [], digest: digest, lastChange: Timestamp(rawValue: digest))
    }

    @Test func twoThatAgreeAreEnough() {
        var quorum = TableQuorum(replicas: 3)
        #expect(quorum.receive(Self.reply(1), from: 0) == .wait)
        #expect(quorum.receive(Self.reply(1), from: 2) == .done)
    }

    @Test func twoThatDifferWaitForTheThirdButNotForLong() {
        var quorum = TableQuorum(replicas: 3)
        #expect(quorum.receive(Self.reply(1), from: 0) == .wait)
        #expect(quorum.receive(Self.reply(2), from: 1) == .wait)
        #expect(quorum.receiveSilence() == .done)
        #expect(quorum.agreed?.digest == 2)
    }

    @Test func silenceMakesNoMajority() {
        var quorum = TableQuorum(replicas: 3)
        #expect(quorum.receive(Self.reply(1), from: 0) == .wait)
        #expect(quorum.receiveSilence() == .wait)
        #expect(quorum.receive(Self.reply(2), from: 2) == .done)
    }
}
