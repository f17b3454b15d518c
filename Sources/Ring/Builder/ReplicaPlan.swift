/// How many replicas of a partition every tier should hold: on average, and at least and at most for each partition.
///
/// Replicas "on average" are fractions: a zone with 0.75 holds a replica of three partitions in four.
struct ReplicaPlan {
    /// The replicas on average, by node of the tree.
    private(set) var target: [Double]
    private(set) var least: [Int]
    private(set) var most: [Int]
    /// The most replicas a tier holds when replicas are kept apart as well as the devices allow, whatever the weights.
    private(set) var dispersed: [Int]
    /// The overload that would let replicas be kept apart that well.
    private(set) var requiredOverload: Double

    /// Differences below this are rounding errors.
    private static let tolerance = 1e-9

    init(tree: TierTree, replicas: Double, overload: Double) throws(RingBuilderError) {
        let usable = tree.sums(of: tree.weights.map { $0 > 0 ? 1 : 0 })
        guard Double(usable[0]) >= replicas else {
            throw .tooFewDevices(needed: Int(replicas.rounded(.up)), have: usable[0])
        }
        let byWeight = tree.sums(of: Self.shares(of: replicas, weights: tree.weights))
        dispersed = Self.dispersed(tree, replicas: replicas, usable: usable)
        let apart = Self.apart(tree, replicas: replicas, weighted: byWeight, usable: usable)
        var required = 0.0
        for node in 0..<tree.nodeCount where tree.deviceOfNode[node] >= 0 && byWeight[node] > 0 {
            required = max(required, (apart[node] - byWeight[node]) / byWeight[node])
        }
        requiredOverload = required < Self.tolerance ? 0 : required
        // As far from "by weight" towards "apart" as the overload reaches.
        let reach = requiredOverload > 0 ? min(1, overload / requiredOverload) : 1
        target = zip(byWeight, apart).map { weighted, wanted in
            let value = weighted + (wanted - weighted) * reach
            return abs(value - value.rounded()) < Self.tolerance ? value.rounded() : value
        }
        least = target.map { Int($0.rounded(.down)) }
        most = target.map { Int($0.rounded(.up)) }
    }

    /// Divides replicas by weight when no device can take more than one.
    private static func shares(of replicas: Double, weights: [Double]) -> [Double] {
        var shares = [Double](repeating: 0, count: weights.count)
        let order = weights.indices.filter { weights[$0] > 0 }.sorted { weights[$0] > weights[$1] }
        var remaining = replicas
        var weight = order.reduce(0) { $0 + weights[$1] }
        for device in order {
            // Heaviest first: once a share is below 1, so are all that follow.
            let share = min(1, remaining * weights[device] / weight)
            shares[device] = share
            remaining -= share
            weight -= weights[device]
            if weight <= 0 { weight = .leastNormalMagnitude }
        }
        return shares
    }

    /// The most replicas any child needs to take when `replicas` are spread as evenly as the children's devices allow.
    private static func evenCeiling(_ replicas: Double, _ usable: [Int]) -> Int {
        var ceiling = 1
        while Double(usable.reduce(0) { $0 + min($1, ceiling) }) < replicas - tolerance { ceiling += 1 }
        return ceiling
    }

    private static func dispersed(_ tree: TierTree, replicas: Double, usable: [Int]) -> [Int] {
        var result = [Int](repeating: 0, count: tree.nodeCount)
        result[0] = Int(replicas.rounded(.up))
        for node in 0..<tree.nodeCount {
            let children = tree.children[node].filter { usable[$0] > 0 }
            guard !children.isEmpty, result[node] > 0 else { continue }
            let ceiling = evenCeiling(Double(result[node]), children.map { usable[$0] })
            for child in children { result[child] = min(ceiling, usable[child]) }
        }
        return result
    }

    /// The replicas on average when keeping them apart comes first and weights second.
    private static func apart(_ tree: TierTree, replicas: Double, weighted: [Double], usable: [Int]) -> [Double] {
        var result = [Double](repeating: 0, count: tree.nodeCount)
        result[0] = replicas
        for node in 0..<tree.nodeCount {
            let children = tree.children[node].filter { usable[$0] > 0 }
            guard !children.isEmpty else { continue }
            let counts = children.map { usable[$0] }
            let ceiling = evenCeiling(result[node], counts)
            var floor = 0
            while Double(counts.reduce(0) { $0 + min($1, floor + 1) }) <= result[node] + tolerance, floor < ceiling {
                floor += 1
            }
            let divided = divide(
                result[node], weights: children.map { weighted[$0] }, least: counts.map { Double(min($0, floor)) },
                most: counts.map { Double(min($0, ceiling)) })
            for (child, value) in zip(children, divided) { result[child] = value }
        }
        return result
    }

    /// Divides an amount by weight within bounds, by bisection on the common factor.
    private static func divide(_ amount: Double, weights: [Double], least: [Double], most: [Double]) -> [Double] {
        func shares(_ factor: Double) -> [Double] {
            weights.indices.map { min(most[$0], max(least[$0], weights[$0] * factor)) }
        }
        func sum(_ factor: Double) -> Double { shares(factor).reduce(0, +) }
        var low = 0.0
        var high = 1.0
        while sum(high) < amount - tolerance, high < 1e300 { high *= 2 }
        for _ in 0..<200 {
            let middle = (low + high) / 2
            guard middle > low, middle < high else { break }
            if sum(middle) < amount { low = middle } else { high = middle }
        }
        return shares(high)
    }
}
