/// Makes one run of several, a piece at a time.
struct RunMerge {
    /// Neighbours, the newest first.
    let inputs: [Run]
    private let cursor: MergedCursor
    private var writer: RunWriter
    /// Nothing older is below: what is removed is gone for good.
    private let isLast: Bool

    var number: UInt64 { writer.number }

    init(_ inputs: [Run], writer: RunWriter, isLast: Bool) throws(DeviceLogError) {
        self.inputs = inputs
        self.writer = writer
        self.isLast = isLast
        cursor = MergedCursor(inputs)
        try [UInt8]().withBytes { (start) throws(DeviceLogError) in try cursor.seek(atOrBehind: start) }
    }

    /// Moves some entries; false when there are none left.
    mutating func step(entries: Int) throws(DeviceLogError) -> Bool {
        var left = entries
        while left > 0 {
            guard let entry = cursor.entry else { return false }
            if !entry.isRemoved || !isLast {
                try writer.add(cursor.key, entry.value, isRemoved: entry.isRemoved)
            }
            try cursor.move()
            left -= 1
        }
        return true
    }

    /// Nil when nothing is left of the inputs.
    mutating func finish() throws(DeviceLogError) -> Run? {
        writer.count == 0 ? nil : try writer.finish()
    }
}

/// Which runs are due to be merged: eight of about one size, with all that are newer. Sizes are told apart by powers of eight, so that an
/// entry is written again once for each power that the index has grown by, and there are fewer than eight runs for each.
struct MergePolicy {
    static let width = 8
    /// Runs of fewer bytes are all of one size.
    let smallest: Int64

    func tier(_ size: Int64) -> Int {
        var tier = 0
        var limit = max(1, smallest)
        while size >= limit, tier < 16 {
            tier += 1
            limit *= Int64(Self.width)
        }
        return tier
    }

    /// How many runs to merge, from the newest on; nil when none are due.
    ///
    /// - Parameter sizes: bytes of the runs, the newest first.
    func due(_ sizes: [Int64]) -> Int? {
        let tiers = sizes.map(tier)
        for tier in 0...(tiers.max() ?? 0) {
            let group = tiers.prefix { $0 <= tier }
            let isOfOneSize = group.count(where: { $0 == tier }) >= Self.width
            // Small runs below larger ones are of no group but these.
            if isOfOneSize || group.count >= Self.width * (tier + 1) { return group.count }
        }
        return nil
    }
}

extension RunIndex {
    /// Entries moved between two looks at the clock of the caller.
    private static let stride = 4096
    /// Runs at which a flush waits for merges: they cannot keep up.
    private static let mostRuns = 3 * MergePolicy.width

    func tidy(until isDue: () -> Bool) throws(DeviceLogError) {
        if isDamaged {
            abandonMerge()
            return try recordDamage()
        }
        while try beginMerge() {
            do throws(DeviceLogError) {
                while try merge?.step(entries: Self.stride) ?? false {
                    if isDue() { return }
                }
                try finishMerge()
            } catch {
                abandonMerge()
                note(error)
                throw error
            }
            if isDue() { return }
        }
    }

    /// Merges to the end when there are far too many runs.
    func catchUp() throws(DeviceLogError) {
        let small = version.runs.prefix { policy.tier($0.size) == 0 }
        if small.count >= Self.mostRuns { try tidy { false } }
    }

    func abandonMerge() {
        if let merge { remove(merge.number) }
        merge = nil
    }

    /// False when nothing is due.
    private func beginMerge() throws(DeviceLogError) -> Bool {
        if merge != nil { return true }
        let runs = version.runs
        guard let count = policy.due(runs.map(\.size)) else { return false }
        let inputs = Array(runs.prefix(count))
        let entries = inputs.reduce(UInt64(0)) { $0 + $1.tail.count }
        let writer = try beginRun(limit: Int(entries))
        do throws(DeviceLogError) {
            merge = try RunMerge(inputs, writer: writer, isLast: count == runs.count)
        } catch {
            remove(writer.number)
            throw error
        }
        return true
    }

    private func finishMerge() throws(DeviceLogError) {
        guard let merge else { return }
        let output = try self.merge?.finish()
        if output == nil { remove(merge.number) }
        self.merge = nil
        let replaced = Set(merge.inputs.map(\.number))
        var runs = version.runs
        let place = runs.firstIndex { replaced.contains($0.number) } ?? 0
        runs.removeAll { replaced.contains($0.number) }
        if let output { runs.insert(output, at: place) }
        try commit(Version(runs: runs, state: version.state), adding: output, without: replaced.sorted())
    }
}
