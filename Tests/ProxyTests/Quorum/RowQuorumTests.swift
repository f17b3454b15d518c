import Proxy
import StorageWire
import Testing

/// What a write does about the rows of replicas that are away.
struct RowQuorumTests {
    @Test func rowOfAReplicaThatIsAwayIsWrittenByTheProxy() {
        var write = WriteQuorum(replicas: 3)
        #expect(write.receive(.failed, from: 1) == .tryHandoff(primary: 1))
        #expect(write.receive(.stored(row: true), from: 0) == .wait)
        #expect(write.receive(.stored(row: false), from: 2) == .writeRows([1]))
        #expect(write.receiveRow(stored: true, from: 1) == .succeed)
    }

    @Test func rowsOfSilentReplicasAreNotWaitedFor() {
        var write = WriteQuorum(replicas: 3)
        #expect(write.receive(.stored(row: false), from: 0) == .wait)
        #expect(write.receive(.stored(row: true), from: 1) == .writeRows([2]))
        // The replica answers after all: its row counts once.
        #expect(write.receive(.stored(row: true), from: 2) == .succeed)
        #expect(write.receiveRow(stored: true, from: 2) == .wait)
    }

    @Test func withoutAMajorityOfRowsTheWriteFails() {
        var write = WriteQuorum(replicas: 3)
        #expect(write.receive(.stored(row: true), from: 0) == .wait)
        #expect(write.receive(.stored(row: false), from: 1) == .writeRows([2]))
        #expect(write.receiveRow(stored: false, from: 2) == .fail)
    }

    @Test func noRowComesBeforeTheObjectIsSafe() {
        var write = WriteQuorum(replicas: 3)
        #expect(write.receive(.stored(row: false), from: 0) == .wait)
        #expect(write.receive(.failed, from: 1) == .tryHandoff(primary: 1))
        #expect(write.receive(.failed, from: 2) == .fail)
    }
}
