import Access

/// Who is asking.
enum AccessBenchmarks {
    static let all = [
        Benchmark("access.known-token", "verifying a token that was seen before") { workspace in
            try verifying(tokens: 16, in: workspace)
        },
        // Eight times as many as are remembered.
        Benchmark("access.new-token", "verifying a token by its signature") { workspace in
            try verifying(tokens: 16_384, in: workspace)
        },
    ]

    private static let start: UInt64 = 1_750_000_000

    private static func verifying(tokens count: Int, in workspace: Workspace) throws -> Workload {
        let directory = try workspace.makeDirectory("users")
        let key = ClusterKey(secret: Array("a key of many bytes".utf8))
        let store = UserStore(path: "\(directory)/users", clusterKey: key)
        let secret = Array("secret".utf8)
        try store.edit { (users) throws(UserFile.Failure) in
            try users.add(
                account: Array("test".utf8), name: Array("tester".utf8), key: secret, roles: .admin,
                now: start * UserFile.ticksPerSecond)
        }
        let users = try UserDirectory(store: store, clusterKey: key, now: start)
        // Of one user, but of different seconds and so different texts.
        let tokens = try (0..<count).map { second in
            let issued = users.authenticate(
                qualifiedName: Array("test:tester".utf8), key: secret, now: start + UInt64(second))
            guard let issued else { throw BenchmarkFailure("the user cannot sign in") }
            return issued.text
        }
        let now = start + UInt64(count)
        return Workload { operations in
            var sum: UInt64 = 0
            for index in 0..<operations {
                guard let identity = users.verify(tokens[index % count], now: now) else {
                    throw BenchmarkFailure("a token is not accepted")
                }
                sum &+= UInt64(identity.user.count)
            }
            return sum
        }
    }
}
