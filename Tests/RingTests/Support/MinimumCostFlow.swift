/// The cheapest way to send as much as possible from a source to a sink, by shortest augmenting paths.
struct MinimumCostFlow {
    private struct Edge {
        let to: Int
        var capacity: Int
        let cost: Int
    }

    /// Every edge is followed by its reverse.
    private var edges: [Edge] = []
    private var edgesOfNode: [[Int]]
    private var distance: [Int] = []
    private var current: [Int] = []
    private var isOnPath: [Bool]

    init(nodes: Int) {
        edgesOfNode = Array(repeating: [], count: nodes)
        isOnPath = Array(repeating: false, count: nodes)
    }

    mutating func connect(_ from: Int, _ to: Int, capacity: Int, cost: Int = 0) {
        guard capacity > 0 else { return }
        edgesOfNode[from].append(edges.count)
        edges.append(Edge(to: to, capacity: capacity, cost: cost))
        edgesOfNode[to].append(edges.count)
        edges.append(Edge(to: from, capacity: 0, cost: -cost))
    }

    /// What was sent, and what that cost.
    mutating func run(from source: Int, to sink: Int) -> (amount: Int, cost: Int) {
        var amount = 0
        var cost = 0
        while true {
            findDistances(from: source)
            guard distance[sink] < .max else { return (amount, cost) }
            current = Array(repeating: 0, count: edgesOfNode.count)
            let sent = send(.max, from: source, to: sink)
            amount += sent
            cost += sent * distance[sink]
        }
    }

    /// Bellman and Ford's algorithm, with a queue.
    private mutating func findDistances(from source: Int) {
        distance = Array(repeating: .max, count: edgesOfNode.count)
        distance[source] = 0
        var isQueued = Array(repeating: false, count: edgesOfNode.count)
        var queue = [source]
        var next = 0
        while next < queue.count {
            let node = queue[next]
            next += 1
            isQueued[node] = false
            for index in edgesOfNode[node] where edges[index].capacity > 0 {
                let edge = edges[index]
                guard distance[node] + edge.cost < distance[edge.to] else { continue }
                distance[edge.to] = distance[node] + edge.cost
                if !isQueued[edge.to] { queue.append(edge.to) }
                isQueued[edge.to] = true
            }
        }
    }

    /// Sends up to `limit` along shortest paths.
    private mutating func send(_ limit: Int, from node: Int, to sink: Int) -> Int {
        if node == sink { return limit }
        isOnPath[node] = true
        defer { isOnPath[node] = false }
        var sent = 0
        while current[node] < edgesOfNode[node].count {
            let index = edgesOfNode[node][current[node]]
            let edge = edges[index]
            if edge.capacity > 0, !isOnPath[edge.to], distance[edge.to] == distance[node] + edge.cost {
                let part = send(min(limit - sent, edge.capacity), from: edge.to, to: sink)
                edges[index].capacity -= part
                edges[index ^ 1].capacity += part
                sent += part
                if sent == limit { return sent }
            }
            current[node] += 1
        }
        return sent
    }
}
