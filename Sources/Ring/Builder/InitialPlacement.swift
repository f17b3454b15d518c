/// Assigns every replica of an empty ring so that each tier gets exactly its quota and each partition exactly what the plan allows.
///
/// Partition by partition, the replicas of a tier are divided among its children by systematic sampling: with `e` the replicas a child must
/// still get beyond its least for each of the `r` partitions that are left, the children are laid out one after another as
/// intervals of length `e`, and points at distance `r` from a random start pick those that get one more. A child with `e = r` is
/// always hit and one with `e = 0` never, so `0 <= e <= r` holds again for the next partition and the last one uses up everything.
struct InitialPlacement {
    private let placement: Placement
    /// The children of all nodes, one node after another, and where those of each node begin; node `n` ends where `n + 1` begins.
    private var children: [Int] = []
    private var starts: [Int] = [0]
    /// For each node the least of its children together.
    private var whole: [Int] = []
    private var remaining: [Int]
    private var random: RandomSource
    private var chosen: [UInt32] = []

    /// Children that change places before each choice, so that which devices share partitions is left to chance.
    private static let swaps = 16

    init(_ placement: Placement, random: RandomSource) {
        self.placement = placement
        self.random = random
        remaining = placement.quota
        for list in placement.tree.children {
            let used = list.filter { placement.plan.target[$0] > 0 }
            children += used
            starts.append(children.count)
            whole.append(used.reduce(0) { $0 + placement.plan.least[$1] })
        }
    }

    mutating func run() {
        var slots = placement.slots
        for partition in 0..<placement.partitions {
            let count = placement.replicas(of: partition)
            chosen.removeAll(keepingCapacity: true)
            place(count, in: 0, partitionsLeft: placement.partitions - partition)
            for replica in 0..<min(count, chosen.count) {
                chosen.swapAt(replica, replica + random.next(below: chosen.count - replica))
                slots[partition * placement.columns + replica] = chosen[replica]
            }
        }
        placement.replaceAll(slots)
    }

    private mutating func place(_ count: Int, in node: Int, partitionsLeft: Int) {
        let extras = remaining[node] - whole[node] * partitionsLeft
        remaining[node] -= count
        let device = placement.tree.deviceOfNode[node]
        if device >= 0 {
            chosen.append(UInt32(device))
            return
        }
        shuffle(node)
        // The point that decides: the first `fraction` starts give one hit more than the others.
        let fraction = extras % partitionsLeft
        let roundsUp = count - whole[node] > extras / partitionsLeft
        var point =
            roundsUp
            ? random.next(below: max(1, fraction)) : fraction + random.next(below: max(1, partitionsLeft - fraction))
        var left = count
        var end = 0
        var index = starts[node]
        while left > 0, index < starts[node + 1] {
            let child = children[index]
            index += 1
            let least = placement.plan.least[child]
            end += remaining[child] - least * partitionsLeft
            var share = least
            if point < end {
                share += 1
                point += partitionsLeft
            }
            guard share > 0 else { continue }
            left -= share
            place(share, in: child, partitionsLeft: partitionsLeft)
        }
    }

    private mutating func shuffle(_ node: Int) {
        let start = starts[node]
        let count = starts[node + 1] - start
        guard count > 1 else { return }
        for swap in 0..<min(count - 1, Self.swaps) {
            // A full shuffle where there are few, a bit of one at a random place where there are many.
            let first = count <= Self.swaps ? swap : random.next(below: count)
            let second = count <= Self.swaps ? swap + random.next(below: count - swap) : random.next(below: count)
            children.swapAt(start + first, start + second)
        }
    }
}
