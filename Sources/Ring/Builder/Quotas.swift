/// How many slots every tier should hold: the plan rounded to whole slots so that every tier gets what its children get.
///
/// A device gets its share rounded up or down, whichever is nearer to what it holds, as far as the sums allow: rounding moves nothing
/// that need not move.
struct Quotas {
    /// By node of the tree.
    private(set) var quota: [Int]
    private let exact: [Double]
    private var least: [Int]
    private var most: [Int]

    /// Differences below this are rounding errors.
    private static let tolerance = 1e-6

    init(_ tree: TierTree, _ plan: ReplicaPlan, total: Int, partitions: Int, held: [Int]) {
        // The fraction of a replica is rounded down to whole partitions: scale the plan to what there is.
        let scale = plan.target[0] > 0 ? Double(total) / plan.target[0] : 0
        let exact = zip(plan.target, plan.most).map { min($0 * scale, Double($1 * partitions)) }
        self.exact = exact
        least = exact.map { Int(($0 + Self.tolerance).rounded(.down)) }
        most = exact.map { Int(($0 - Self.tolerance).rounded(.up)) }
        quota = zip(zip(least, most), held).map { bounds, held in max(bounds.0, min(bounds.1, held)) }
        // Parents come before their children: upwards first, for what the children can and would take together.
        for node in (0..<tree.nodeCount).reversed() where !tree.children[node].isEmpty {
            let children = tree.children[node]
            let lower = children.reduce(0) { $0 + least[$1] }
            let upper = children.reduce(0) { $0 + most[$1] }
            let wish = children.reduce(0) { $0 + quota[$1] }
            least[node] = max(lower, min(upper, plan.least[node] * partitions))
            most[node] = min(upper, max(lower, plan.most[node] * partitions))
            quota[node] = max(least[node], min(most[node], wish))
        }
        quota[0] = total
        for node in 0..<tree.nodeCount where !tree.children[node].isEmpty { settle(tree.children[node], quota[node]) }
    }

    /// Changes the quotas of siblings until they add up to `total`: first of those farthest from their share.
    private mutating func settle(_ siblings: [Int], _ total: Int) {
        var left = total - siblings.reduce(0) { $0 + quota[$1] }
        let sign = left.signum()
        guard sign != 0 else { return }
        func distance(_ node: Int) -> Double { Double(sign) * (exact[node] - Double(quota[node])) }
        func room(_ node: Int) -> Int { sign > 0 ? most[node] - quota[node] : quota[node] - least[node] }
        for node in siblings where left != 0 {
            let whole = min(abs(left), room(node), max(0, Int(distance(node).rounded(.down))))
            quota[node] += sign * whole
            left -= sign * whole
        }
        while left != 0 {
            let open = siblings.filter { room($0) > 0 }
            // Past rounding errors the shares of siblings add up to that of their parent.
            for node in (open.isEmpty ? siblings : open).sorted(by: { distance($0) > distance($1) }) where left != 0 {
                quota[node] += sign
                left -= sign
            }
        }
    }
}
