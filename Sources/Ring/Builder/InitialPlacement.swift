/// Assigns every replica of an empty ring so that each tier gets exactly its quota and each partition exactly what the plan allows.
///
/// Partition by partition, the replicas of a tier are divided among its children by systematic sampling: with `e` the replicas a child must
/// still get beyond its least for each of the `r` partitions that are left, the children are laid out one after another as
/// intervals of length `e`, and points at distance `r` from a random start pick those that get one more. A child with `e = r` is
/// always hit and one with `e = 0` never, so `0 <= e <= r` holds again for the next partition and the last one uses up everything.
struct InitialPlacement {
    private let placement: Placement
    private var children: [[Int]]
    private var remaining: [Int]
    private var random: RandomSource
    private var chosen: [UInt32] = []

    /// Children that change places before each choice, so that which devices share partitions is left to chance.
    private static let swaps = 16

    init(_ placement: Placement, random: RandomSource) {
        self.placement = placement
        self.random = random
        let plan = placement.plan
        children = placement.tree.children.map { $0.filter { plan.target[$0] > 0 } }
        remaining = placement.quota
    }

    mutating func run() {
        for partition in 0..<placement.partitions {
            let count = placement.replicas(of: partition)
            chosen.removeAll(keepingCapacity: true)
            place(count, in: 0, partitionsLeft: placement.partitions - partition)
            for replica in 0..<min(count, chosen.count) {
                chosen.swapAt(replica, replica + random.next(below: chosen.count - replica))
                placement.assign(partition * placement.columns + replica, chosen[replica])
            }
        }
    }

    private mutating func place(_ count: Int, in node: Int, partitionsLeft: Int) {
        guard count > 0 else { return }
        remaining[node] -= count
        let device = placement.tree.deviceOfNode[node]
        if device >= 0 {
            chosen.append(UInt32(device))
            return
        }
        shuffle(node)
        var extras = 0
        var whole = 0
        for child in children[node] {
            extras += remaining[child] - placement.plan.least[child] * partitionsLeft
            whole += placement.plan.least[child]
        }
        // The point that decides: the first `fraction` starts give one hit more than the others.
        let fraction = extras % partitionsLeft
        let roundsUp = count - whole > extras / partitionsLeft
        var point =
            roundsUp
            ? random.next(below: max(1, fraction)) : fraction + random.next(below: max(1, partitionsLeft - fraction))
        var end = 0
        for index in children[node].indices {
            let child = children[node][index]
            let least = placement.plan.least[child]
            end += remaining[child] - least * partitionsLeft
            var share = least
            if point < end {
                share += 1
                point += partitionsLeft
            }
            place(share, in: child, partitionsLeft: partitionsLeft)
        }
    }

    private mutating func shuffle(_ node: Int) {
        let count = children[node].count
        guard count > 1 else { return }
        for swap in 0..<min(count - 1, Self.swaps) {
            // A full shuffle where there are few, a bit of one at a random place where there are many.
            let first = count <= Self.swaps ? swap : random.next(below: count)
            let second = count <= Self.swaps ? swap + random.next(below: count - swap) : random.next(below: count)
            children[node].swapAt(first, second)
        }
    }
}
