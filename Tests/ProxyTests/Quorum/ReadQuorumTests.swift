import StorageWire
import Testing

@testable import Proxy

struct ReadQuorumTests {
    private static func time(_ value: UInt64) -> Timestamp { Timestamp(rawValue: value) }

    private enum Copy: Equatable { case lost, holds(ReadQuorum.Version) }

    private static let copies: [Copy] = [
        .lost, .holds(.absent), .holds(.tombstone(time(2))), .holds(.live(time(1))), .holds(.live(time(3))),
    ]

    @Test func theNewestOfAMajorityIsFetched() {
        var read = ReadQuorum(replicas: 3)
        let begin = read.begin(order: [0, 1, 2])
        #expect(begin.full == 0 && begin.versions == [1])
        #expect(read.receive(.live(Self.time(1)), full: true, from: 0) == .wait)
        #expect(read.receive(.live(Self.time(2)), full: false, from: 1) == .askVersion(2))
        #expect(read.receive(.live(Self.time(2)), full: false, from: 2) == .askAll(1))
        #expect(read.receive(.live(Self.time(2)), full: true, from: 1) == .answer(from: 1, stale: [0]))
    }

    @Test func whoIsSilentForLongIsNotWaitedFor() {
        var read = ReadQuorum(replicas: 3)
        _ = read.begin(order: [0, 1, 2])
        #expect(read.receive(.live(Self.time(1)), full: false, from: 1) == .wait)
        // The one that was asked for everything.
        #expect(read.hurry() == .askAll(2))
        #expect(read.hurry() == .wait)
        #expect(read.receive(.live(Self.time(1)), full: true, from: 2) == .answer(from: 2, stale: []))
        #expect(read.hurry() == .wait)

        // Only one of those who speak has it.
        var minority = ReadQuorum(replicas: 3)
        _ = minority.begin(order: [0, 1, 2])
        #expect(minority.receive(.live(Self.time(1)), full: false, from: 1) == .wait)
        #expect(minority.hurry() == .askAll(2))
        #expect(minority.receive(.absent, full: true, from: 2) == .askAll(1))
        #expect(minority.receive(.live(Self.time(1)), full: true, from: 1) == .answer(from: 1, stale: [2]))

        var other = ReadQuorum(replicas: 3)
        _ = other.begin(order: [0, 1, 2])
        #expect(other.receive(.live(Self.time(1)), full: true, from: 0) == .wait)
        #expect(other.hurry() == .askVersion(2))
        #expect(other.receive(.live(Self.time(1)), full: false, from: 2) == .answer(from: 0, stale: []))
    }

    /// Whatever the replicas hold and in whatever order they answer: one end, the newest of those who answered, of a majority at least.
    @Test(arguments: [1, 2, 3], [false, true]) func everyTranscriptEndsOnce(replicas: Int, asksAll: Bool) {
        for combination in 0..<power(Self.copies.count, replicas) {
            let copies = (0..<replicas).map {
                Self.copies[combination / power(Self.copies.count, $0) % Self.copies.count]
            }
            for order in permutations(Array(0..<replicas)) {
                check(copies, answering: order, asksAll: asksAll)
                for answers in 0...replicas { check(copies, answering: order, asksAll: asksAll, hurryAfter: answers) }
            }
        }
    }

    private func check(_ copies: [Copy], answering order: [Int], asksAll: Bool, hurryAfter: Int? = nil) {
        var read = ReadQuorum(replicas: copies.count, asksAll: asksAll)
        let begin = read.begin(order: Array(copies.indices))
        var asked = [begin.full: true]
        for index in begin.versions { asked[index] = false }
        var ends: [ReadQuorum.Action] = []
        var heard: Set<Int> = []
        var answers = 0
        func act(on action: ReadQuorum.Action) {
            switch action {
            case .wait: break
            case .askVersion(let next): asked[next] = false
            case .askAll(let next): asked[next] = true
            case .answer, .notFound, .fail: ends.append(action)
            }
        }
        func hurry() {
            if answers == hurryAfter { act(on: read.hurry()) }
        }
        hurry()
        while let index = order.first(where: { asked[$0] != nil }), let full = asked.removeValue(forKey: index) {
            let action: ReadQuorum.Action
            switch copies[index] {
            case .lost: action = read.receiveFailure(from: index)
            case .holds(let version):
                heard.insert(index)
                action = read.receive(version, full: full, from: index)
            }
            act(on: action)
            answers += 1
            if ends.isEmpty { hurry() }
            guard ends.isEmpty else { break }
        }
        // One end: what comes later changes nothing.
        #expect(read.hurry() == .wait)
        let sound = copies.count { $0 != .lost }
        #expect(ends.count == 1, "\(copies) \(order)")
        #expect((ends.first == .fail) == (sound <= copies.count / 2), "\(copies) \(order)")
        guard let end = ends.first, end != .fail else { return }
        let newest = heard.map { index -> Timestamp in
            if case .holds(let version) = copies[index] { version.timestamp } else { .never }
        }.max()
        #expect(heard.count > copies.count / 2)
        switch end {
        case .answer(let from, _): #expect(copies[from] == .holds(.live(newest ?? .never)), "\(copies) \(order)")
        case .notFound(let version): #expect(version.timestamp == newest)
        default: break
        }
    }
}
