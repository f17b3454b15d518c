import NIOCore
import Ring
import StorageWire
import Testing

@testable import ContainerServer

/// The life of a table's head: made, changed, deleted, made anew.
struct TableTransitionTests {
    private func update(
        _ info: ByteBuffer?, at ticks: UInt64, creates: Bool = true, policy: UInt8 = UpdateTable.anyPolicy,
        rows: Int64 = 0, metadata: [ObjectHead.Header] = []
    ) throws -> TableTransition {
        let table = TableAddress(device: 0, kind: .container, hash: PathHash(high: 1, low: 2))
        let update = UpdateTable(
            table: table, timestamp: Timestamp(ticks: ticks), creates: creates, account: [1], container: [2],
            policy: policy, metadata: metadata)
        return try TableTransition.update(info, rows: rows, by: update)
    }

    private func head(_ transition: TableTransition) throws -> TableHead {
        guard case .replaced(let head, _) = transition else { throw Refused() }
        return head
    }

    private struct Refused: Error {}

    @Test func aTableIsMadeDeletedAndMadeAnewWithoutItsMetadata() throws {
        let item = ObjectHead.Header(name: [7], value: [8])
        let made = try update(nil, at: 1, policy: 3, metadata: [item])
        guard case .replaced(let first, created: true) = made else { throw Refused() }
        #expect(first.policy == 3 && first.metadata.count == 1)
        let deleted = try head(TableTransition.delete(first.encoded(), rows: 0, at: Timestamp(ticks: 2)))
        #expect(!deleted.isLive(rows: 0))
        guard case .replaced(let second, created: true) = try update(deleted.encoded(), at: 3) else { throw Refused() }
        #expect(second.policy == 0 && second.metadata.isEmpty && second.isLive(rows: 0))
    }

    @Test func whatIsOlderIsSuperseded() throws {
        let first = try head(update(nil, at: 5))
        guard
            case .refused(.superseded(first.put)) = try TableTransition.delete(
                first.encoded(), rows: 0, at: Timestamp(ticks: 4))
        else { throw Refused() }
        let deleted = try head(TableTransition.delete(first.encoded(), rows: 0, at: Timestamp(ticks: 6)))
        guard case .refused(.superseded(deleted.deleted)) = try update(deleted.encoded(), at: 5) else {
            throw Refused()
        }
    }

    @Test func conflictsAreRefused() throws {
        guard case .refused(.absent) = try update(nil, at: 1, creates: false) else { throw Refused() }
        let first = try head(update(nil, at: 1, policy: 3)).encoded()
        guard case .refused(.policyConflict(3)) = try update(first, at: 2, policy: 1) else { throw Refused() }
        guard case .refused(.notEmpty) = try TableTransition.delete(first, rows: 1, at: Timestamp(ticks: 2)) else {
            throw Refused()
        }
    }
}
