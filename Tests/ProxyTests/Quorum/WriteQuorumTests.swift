import StorageWire
import Testing

@testable import Proxy

struct WriteQuorumTests {
    private static let newer = Timestamp(rawValue: 9)
    private static let answers: [WriteQuorum.Answer] = [
        .stored(row: true), .stored(row: false), .superseded(newer), .failed,
    ]

    @Test func aMajorityWithRowsSucceeds() {
        var write = WriteQuorum(replicas: 3)
        #expect(write.receive(.stored(row: true), from: 0) == .wait)
        #expect(write.receive(.failed, from: 1) == .tryHandoff(primary: 1, rows: []))
        #expect(write.receive(.stored(row: true), from: 2) == .succeed)
        #expect(write.receive(.failed, from: 0) == .wait)
    }

    @Test func theRowOfALostPrimaryIsWrittenWhenTheObjectIsDurable() {
        var write = WriteQuorum(replicas: 3, writesRows: true)
        #expect(write.receive(.failed, from: 2) == .tryHandoff(primary: 2, rows: []))
        #expect(write.receive(.stored(row: false), from: 1) == .wait)
        #expect(write.receive(.stored(row: true), from: 0) == .writeRows([2]))
        #expect(write.receiveRow(stored: true, from: 2) == .succeed)
    }

    @Test func aSilentPrimaryIsNotWaitedForWhenOnlyARowLacks() {
        var write = WriteQuorum(replicas: 3, writesRows: true)
        #expect(write.receive(.stored(row: false), from: 1) == .wait)
        #expect(write.receive(.stored(row: true), from: 0) == .writeRows([2]))
        #expect(write.receive(.stored(row: true), from: 2) == .succeed)
    }

    /// Every order of every combination of answers comes to one end, and success only with a majority of objects and rows.
    @Test(arguments: [1, 2, 3, 4], [false, true]) func everyTranscriptEndsOnce(replicas: Int, writesRows: Bool) {
        for order in permutations(Array(0..<replicas)) {
            for combination in 0..<power(Self.answers.count, replicas) {
                for rowsSucceed in [false, true] {
                    check(order, combination, writesRows: writesRows, rowsSucceed: rowsSucceed)
                }
            }
        }
    }

    private func check(_ order: [Int], _ combination: Int, writesRows: Bool, rowsSucceed: Bool) {
        let replicas = order.count
        var write = WriteQuorum(replicas: replicas, writesRows: writesRows)
        var stored = 0
        var rows: Set<Int> = []
        var ends: [WriteQuorum.Action] = []
        var queue: [Int] = []
        func take(_ action: WriteQuorum.Action) {
            switch action {
            case .wait: break
            case .tryHandoff(_, let wanted), .writeRows(let wanted):
                #expect(stored > replicas / 2 || wanted.isEmpty)
                queue += wanted
            case .succeed:
                #expect(stored > replicas / 2 && rows.count > replicas / 2)
                ends.append(action)
            case .retry, .fail: ends.append(action)
            }
        }
        for index in order {
            let answer = Self.answers[combination / power(Self.answers.count, index) % Self.answers.count]
            if case .stored(let row) = answer, ends.isEmpty {
                stored += 1
                if row { rows.insert(index) }
            }
            take(write.receive(answer, from: index))
            while let row = queue.popLast() {
                if rowsSucceed, ends.isEmpty { rows.insert(row) }
                take(write.receiveRow(stored: rowsSucceed, from: row))
            }
        }
        #expect(ends.count == 1, "order \(order), combination \(combination)")
    }
}

/// All orders of some things.
func permutations<Element>(_ elements: [Element]) -> [[Element]] {
    guard elements.count > 1 else { return [elements] }
    return elements.indices.flatMap { index in
        var rest = elements
        let first = rest.remove(at: index)
        return permutations(rest).map { [first] + $0 }
    }
}

func power(_ base: Int, _ exponent: Int) -> Int { (0..<exponent).reduce(1) { product, _ in product * base } }
