import NIOCore
import Ring
import StorageWire
import Testing

@testable import ContainerServer

/// The life of a table's head: made, changed, deleted, made anew.
struct TableTransitionTests {
    private func update(
        _ info: ByteBuffer?, at ticks: UInt64, creates: Bool = true, policy: UInt8 = UpdateTable.anyPolicy,
        rows: Int64 = 0, metadata: [ObjectHead.Header] = [], container: [UInt8] = [2]
    ) throws -> TableTransition {
        let table = TableAddress(device: 0, kind: .container, hash: PathHash(high: 1, low: 2))
        let update = UpdateTable(
            table: table, timestamp: Timestamp(ticks: ticks), creates: creates, account: [1],
            container: container, policy: policy, metadata: metadata)
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

    private func delete(account info: ByteBuffer?, at ticks: UInt64) throws -> TableTransition {
        let table = TableAddress(device: 0, kind: .account, hash: PathHash(high: 1, low: 2))
        let delete = DeleteAccount(table: table, timestamp: Timestamp(ticks: ticks), account: [1])
        return try TableTransition.delete(account: info, by: delete)
    }

    private static let second: UInt64 = 100_000
    private static let rest = UInt64(TableHead.accountRest) * second

    /// A majority has to know of a deletion: a replica that was away when the account was made is one of it.
    @Test func anAccountThatWasNeverHeardOfIsDeletedAllTheSame() throws {
        let deleted = try head(delete(account: nil, at: 5))
        #expect(deleted.account == [1])
        var known = try head(update(nil, at: 4, container: []))
        known.merge(deleted)
        #expect(!known.isLive(rows: 0) && known.isDeletedAccount)
        #expect(try head(delete(account: deleted.encoded(), at: 9)).deleted == Timestamp(ticks: 9))
        #expect(try head(delete(account: deleted.encoded(), at: 3)).deleted == Timestamp(ticks: 5))
    }

    @Test func anAccountIsDeletedWhateverItLists() throws {
        let made = try head(update(nil, at: 1, metadata: [ObjectHead.Header(name: [7], value: [8])], container: []))
        let deleted = try head(delete(account: made.encoded(), at: 2))
        #expect(deleted.isDeletedAccount && !deleted.isLive(rows: 9) && deleted.metadata.isEmpty)
        guard case .refused(.superseded(made.put)) = try delete(account: made.encoded(), at: 1) else { throw Refused() }
        // A replica that hears of it late gives up the metadata too, and brings it back to nobody.
        var (late, known) = (made, deleted)
        late.merge(deleted)
        known.merge(made)
        #expect(late == known && late.metadata.isEmpty && late.digest == known.digest)
    }

    @Test func aDeletedAccountIsMadeAgainWhenItIsEmptyAndHasRested() throws {
        let deletion = 3 * Self.second
        let deleted = try head(delete(account: head(update(nil, at: 1, container: [])).encoded(), at: deletion))
        for (ticks, rows) in [(deletion + 1, 0), (deletion + Self.rest - Self.second, 0), (deletion + Self.rest, 1)] {
            guard
                case .refused(.tombstone(deleted.deleted)) = try update(
                    deleted.encoded(), at: ticks, rows: Int64(rows), container: [])
            else { throw Refused() }
        }
        guard case .refused(.absent) = try update(deleted.encoded(), at: 1, creates: false, rows: 1, container: [])
        else { throw Refused() }
        let again = try update(deleted.encoded(), at: deletion + Self.rest, container: [])
        guard case .replaced(let head, created: true) = again else { throw Refused() }
        #expect(head.isLive(rows: 0) && !head.isDeletedAccount)
        // The reaper's word for the old deletion changes nothing.
        guard case .refused(.superseded) = try delete(account: head.encoded(), at: deletion) else { throw Refused() }
    }
}
